"""gunicorn, for development and production alike. One image, three roles, chosen by PARLEY_ROLE.

- `all`   REST and WebSockets in one gevent process: development and small installations.
- `rest`  REST only, threads. No WebSocket may reach it: twenty open sockets starve a pool of twenty threads.
- `ws`    WebSockets only, gevent: a socket costs a greenlet. One process per core.
"""

import os
from contextlib import suppress
from pathlib import Path

ROLES = {"all": "gevent", "rest": "gthread", "ws": "gevent"}

_role = os.environ.get("PARLEY_ROLE", "all")
if _role not in ROLES:
    raise SystemExit(f"PARLEY_ROLE is {_role!r}; it must be one of {', '.join(ROLES)}")

wsgi_app = "wsgi:app"
_host = os.environ.get("HOST", "127.0.0.1")
bind = f"{f'[{_host}]' if ':' in _host else _host}:{os.environ.get('PORT', '8000')}"
worker_class = ROLES[_role]
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
# gthread only. Who waits to be let in (web/http/admission.py) holds a thread: far more threads than requests that work,
# and SPARE_THREADS of them that nobody waits in, so that a health check and a refusal always find one.
threads = int(os.environ.get("WEB_THREADS", "128"))
SPARE_THREADS = 16
if _role == "rest" and "HTTP_MAX_WAITING" not in os.environ:
    _at_work = int(os.environ.get("HTTP_MAX_IN_FLIGHT") or "8")
    raw_env = [f"HTTP_MAX_WAITING={max(0, threads - _at_work - SPARE_THREADS)}"]
# Who is in a meeting feels a delay of 30 ms, who waits for an answer does not: on a core that both share, sockets go
# first. Linux weighs sessions against each other before the processes in them, where it has such groups (autogroup).
REST_NICENESS = 10
_SESSION_NICENESS = Path("/proc/self/autogroup")
worker_connections = 10_000  # counts WebSockets; at the cap even health checks hang, so WS_MAX_CONNECTIONS is lower

# Never preload. psycopg chooses its wait function when it is imported; imported in the arbiter, before gevent has
# patched, it chooses the one that blocks the whole process (eight queries of 0.3 s at once: 2.45 s instead of 0.35 s).
preload_app = False

timeout = 30
graceful_timeout = 8  # the drain closes WebSockets well before; this bounds requests
keepalive = 5

limit_request_line = 8190  # `?since=` of a client in many streams
limit_request_fields = 64
limit_request_field_size = 16_380

accesslog = None  # the application logs each request, once, with its id
loglevel = "warning"
# On by default since gunicorn 25.1: it lets any process of this user shut the server down, and fails on a read-only
# file system.
control_socket_disable = True

_metrics = os.environ.get("PROMETHEUS_MULTIPROC_DIR")


def on_starting(server):
    """Make the folder of the metrics before any worker imports prometheus_client."""
    if _metrics:
        Path(_metrics).mkdir(parents=True, exist_ok=True)


def post_worker_init(worker):
    """Have the worker close its WebSockets with 1012 on SIGTERM (left to gunicorn they would see 1006), and collect
    garbage when that holds up nobody.

    Imported here and not above: this file is read in the arbiter, before gevent has patched.
    """
    from web.realtime import drain, garbage

    if _role == "rest":
        let_sockets_go_first()
    drain.install(worker)
    garbage.install(worker)


def let_sockets_go_first():
    """Be nice to the processes that hold sockets; for a worker of the role `rest`."""
    os.nice(REST_NICENESS)
    if os.getsid(0) == os.getppid():  # the session is gunicorn's own, and not somebody's shell
        with suppress(OSError):  # no such groups here, or somebody has just said it
            _SESSION_NICENESS.write_text(str(REST_NICENESS))


def child_exit(server, worker):
    """Drop the live gauges of a worker that is gone, as prometheus_client.multiprocess.mark_process_dead does.

    Not by importing it: the arbiter forks, and a fork must not inherit modules imported before gevent has patched.
    """
    if _metrics:
        for gauge in Path(_metrics).glob(f"gauge_live*_{worker.pid}.db"):
            gauge.unlink(missing_ok=True)
