"""The servers beside the product: the floor, and four peers. Each is started afresh for each measured run."""

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.client import Dialect, Target
from bench.ground import PEER_PROGRAMS, PROJECT, SERVER_CORE, Ground, on_core
from bench.workloads import Workload
from dev.process import LOOPBACK, free_port, kill_session, spawn

START_SECONDS = 30.0
STOP_SECONDS = 5.0

# As long as the product's own reaction, so that all carry the same bytes. The product makes its frame from a short one
# of the client; the others pass on what they get, which is less work.
EVENT = (
    '{"type":"reaction","meeting_id":"01JZZZZZZZZZZZZZZZZZZZZZZZ","user_id":"01JZZZZZZZZZZZZZZZZZZZZZZZ","data":'
    '{"participant_id":"01JZZZZZZZZZZZZZZZZZZZZZZZ","user_id":"01JZZZZZZZZZZZZZZZZZZZZZZZ","user_name":"Person 1234",'
    '"reaction_type":"heart"},"timestamp":"2025-01-01T00:00:00.{n}Z","stream":null,"seq":null}'
)
ECHO = Dialect(EVENT, '"type":"reaction"')
SOCKETIO = Dialect(f'42["say",{EVENT}]', '"type":"reaction"', opened_by='"joined"', is_socketio=True)


class DidNotStart(Exception):
    """A server did not answer; the message holds its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `targets` makes what a workload connects to; `beside` runs other load during
    the block, and fills what it gives with the figures of that load afterwards."""

    process: "subprocess.Popen[bytes]"
    port: int
    dialect: Callable[[Workload], Dialect]
    targets: Callable[[Workload], list[Target]]
    beside: Callable[[Workload], AbstractContextManager[dict[str, float]]] = field(default=lambda _: nullcontext({}))


class Contestant(Protocol):
    """Whoever takes part."""

    @property
    def name(self) -> str:
        """Return the name in the report."""

    def serving(self, ground: Ground, workload: Workload) -> AbstractContextManager[Running]:
        """Start it for a workload, and stop it at the end."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that needs no preparation: a program, and how one speaks to it."""

    name: str
    command: Callable[[Ground, int], list[str]]
    dialect: Dialect = ECHO
    path: str = "/ws/{room}"
    speaks_http: bool = True

    @contextmanager
    def serving(self, ground: Ground, _: Workload) -> Iterator[Running]:
        """Start it, and stop it at the end."""
        port = free_port()
        environ = {"PATH": "/usr/bin:/bin", "REDIS_URL": ground.valkey.url, "PYTHONPATH": str(PROJECT)}
        log = ground.directory / f"{self.name}.log"
        with started(self.command(ground, port), port, environ, log, is_http=self.speaks_http) as process:
            yield Running(process, port, lambda _: self.dialect, self._targets)

    def _targets(self, workload: Workload) -> list[Target]:
        rooms = [index % workload.rooms for index in range(workload.sockets)]
        return [Target(room, self.path.format(room=room)) for room in rooms]


@contextmanager
def started(
    command: list[str], port: int, environ: Mapping[str, str], log: Path, *, is_http: bool = True, path: str = "/"
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server on its own core, from its first answer to the end of the block. Raises DidNotStart."""
    with log.open("wb") as output, on_core(SERVER_CORE):
        process = spawn(command, output=output, cwd=PROJECT, env=dict(environ))
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(port, path, is_http=is_http):
            if time.monotonic() > until or process.poll() is not None:
                raise DidNotStart(f"{' '.join(command)}\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        kill_session(process)


def _answers(port: int, path: str, *, is_http: bool) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.connect()
        if is_http:
            connection.request("GET", path)
            connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _gunicorn(module: str, worker: str) -> Callable[[Ground, int], list[str]]:
    options = ["--workers=1", "--worker-connections=12000", "--backlog=4096", "--log-level=warning"]
    return lambda _, port: [
        *(str(PEER_PROGRAMS / "python"), "-m", "gunicorn", f"--bind={LOOPBACK}:{port}", f"--worker-class={worker}"),
        *(*options, "--no-control-socket", module),
    ]


def _uvicorn(module: str) -> Callable[[Ground, int], list[str]]:
    options = ["--loop=uvloop", "--http=httptools", "--backlog=4096", "--log-level=warning"]
    return lambda _, port: [str(PEER_PROGRAMS / "python"), "-m", "uvicorn", f"--port={port}", *options, module]


FLOOR = Peer("floor", lambda ground, port: [str(ground.floor), str(port), str(ground.valkey.port)], speaks_http=False)
FLASK_SOCKETIO = Peer(
    "Flask-SocketIO",
    _gunicorn("bench.peers.flask_socketio_rooms:app", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"),
    SOCKETIO,
    "/socket.io/?EIO=4&transport=websocket",
)
FLASK_SOCK = Peer("flask-sock", _gunicorn("bench.peers.flask_sock_naive:app", "gevent"))
FASTAPI = Peer("FastAPI", _uvicorn("bench.peers.fastapi_rooms:app"))
CHANNELS = Peer("Channels", _uvicorn("bench.peers.channels_groups:application"))
