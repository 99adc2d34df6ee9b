"""`make run`: an embedded Valkey, the migrations, web, worker and beat in one terminal, ended by one Ctrl-C.

    python -m dev.launcher      (in the project's folder, with the runtime requirements installed)

Honours HOST, PORT, DATABASE_URL, REDIS_URL and everything else in the environment or in `.env`. Ends with exit code 0
when asked to stop; with 1 when a program ended by itself, or when the stack was not ready in time.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.console import Console
from dev.environment import development_environment, reachable
from dev.process import port_is_free
from dev.readiness import ReadinessProbe
from dev.schema import is_current
from dev.supervisor import Interrupted, ProgramEnded, Supervisor
from dev.valkey import Valkey, ValkeyDidNotStart

READY_SECONDS = 60.0
LANES = "fast,default,media,maintenance"
PROJECT = Path(__file__).resolve().parent.parent
GUNICORN_CONFIG = PROJECT / "docker" / "gunicorn.conf.py"
MIGRATIONS = PROJECT / "migrations" / "versions"
BROKER_FILE = Path("var", "valkey", "url")  # where the server is that was started; of use while it runs


class CannotStart(Exception):
    """Something is in the way; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: `prepare` to its end, then `programs` side by side. They are stopped in the reverse order.

    `done` tells of a step of `prepare`, from the environment, that there is nothing to do.
    """

    prepare: Mapping[str, list[str]]
    programs: Mapping[str, list[str]]
    ready_seconds: float = READY_SECONDS
    done: Mapping[str, Callable[[Mapping[str, str]], bool]] = field(default_factory=dict)


def product() -> Plan:
    """Return the plan of the product."""
    run = [sys.executable, "-m"]
    celery = [sys.executable, "-W", "ignore:You're running the worker with superuser", "-m", "celery", "-q"]
    quiet = ["-l", "WARNING", "--without-mingle", "--without-gossip"]
    worker = ["-Q", LANES, "-c", "2", *quiet]
    # Apart, and with threads: they wait for servers of others, of which some never answer.
    webhooks = ["-Q", "webhooks", "-P", "threads", "-c", "16", "-n", "webhooks@%h", *quiet]
    return Plan(
        prepare={"migrate": [*run, "flask", "--app", "wsgi", "db", "upgrade"]},
        programs={
            "web": [*run, "gunicorn", "-c", str(GUNICORN_CONFIG), "wsgi:app"],
            "worker": [*celery, "-A", "celery_app", "worker", *worker],
            "webhooks": [*celery, "-A", "celery_app", "worker", *webhooks],
            "beat": [*celery, "-A", "celery_app", "beat", "-l", "WARNING", "-s", "var/beat/schedule"],
        },
        done={"migrate": lambda environ: is_current(environ["DATABASE_URL"], MIGRATIONS)},
    )


def launch(plan: Plan, root: Path, given: Mapping[str, str]) -> int:
    """Run the plan in `root`, the current folder, until it is asked to stop; return the exit code."""
    console = Console()
    supervisor = Supervisor(console)
    supervisor.handle_signals()
    try:
        environ = development_environment(root, given)
        _only_one_in(root)
        _check_port(environ)
        _make_room(root)
        if "REDIS_URL" not in environ:
            environ["REDIS_URL"] = _start_valkey(supervisor, console, root)
        for name, command in plan.prepare.items():
            if name in plan.done and plan.done[name](environ):
                console.say(name, "nothing to do")
                continue
            supervisor.run(name, command, environ)
            console.say(name, "done")
        for name, command in plan.programs.items():
            supervisor.start(name, command, environ)
        _wait_until_ready(supervisor, plan, environ)
        console.block(_greeting(environ, console.seconds))
        while True:
            supervisor.watch(0.2)
    except Interrupted:
        console.say("parley", "stopping")
        code = 0
    except (CannotStart, ProgramEnded, ValkeyDidNotStart) as reason:
        console.say("parley", str(reason))
        code = 1
    finally:
        supervisor.stop_all()
    console.say("parley", "all stopped" if code == 0 else "stopped because of the above")
    return code


def _only_one_in(root: Path) -> None:
    """Hold a lock until this process ends: two servers on the same files in var/ would spoil them."""
    path = root / "var" / "launcher.lock"
    path.parent.mkdir(exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # never closed; children do not inherit it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = path.read_text() or "?"
        raise CannotStart(f"Already running in this folder (process {holder}). Stop that one first.") from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())


def _check_port(environ: Mapping[str, str]) -> None:
    host, port = environ["HOST"], environ["PORT"]
    if not port.isdigit() or not 1 <= int(port) <= 65535:
        raise CannotStart(f"PORT is {port!r}; it must be a number from 1 to 65535.")
    if not port_is_free(host, int(port)):
        raise CannotStart(f"Cannot listen on {host}:{port}: it is taken. Choose another port: PORT=8001 make run")


def _make_room(root: Path) -> None:
    for name in ("metrics", "beat"):
        (root / "var" / name).mkdir(parents=True, exist_ok=True)
    for left_over in (root / "var" / "metrics").glob("*.db"):
        left_over.unlink()  # counters of processes that are gone


def _start_valkey(supervisor: Supervisor, console: Console, root: Path) -> str:
    valkey = Valkey(root / "var" / "valkey", appendonly=True, output=subprocess.PIPE).start()
    assert valkey.process is not None
    supervisor.adopt("valkey", valkey.process, hidden=("Memory overcommit must be enabled",))
    (root / BROKER_FILE).write_text(valkey.url)
    console.say("valkey", f"answers on port {valkey.port}")
    return valkey.url


def _wait_until_ready(supervisor: Supervisor, plan: Plan, environ: Mapping[str, str]) -> None:
    probe = ReadinessProbe(_base_url(environ))
    probe.start()
    waiting = Console()
    while not probe.ready:
        supervisor.watch(0.05)
        if waiting.seconds > plan.ready_seconds:
            raise CannotStart(f"Not ready after {plan.ready_seconds:.0f} s. {probe.problem}")


def _base_url(environ: Mapping[str, str]) -> str:
    return f"http://{reachable(environ['HOST'])}:{environ['PORT']}"


def _greeting(environ: Mapping[str, str], seconds: float) -> list[str]:
    url = _base_url(environ)
    flask = Path(sys.prefix, "bin", "flask")
    shown = flask.relative_to(Path.cwd()) if flask.is_relative_to(Path.cwd()) else flask
    return [
        f"Parley is READY after {seconds:.1f} s.",
        "",
        f"API    {url}/api/v1",
        f"Docs   {url}/api/v1/docs",
        f"Token  {shown} parley create-user, then {shown} parley token",
        "Demo   make demo     (in another terminal)",
        "Stop   Ctrl-C",
    ]


if __name__ == "__main__":
    sys.exit(launch(product(), Path.cwd(), os.environ))
