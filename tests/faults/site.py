"""The site on which things break: two web processes, two workers, two beats, PostgreSQL and Valkey, and between each
process and each server a proxy of its own.
"""

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg
from sqlalchemy import make_url

from dev.http_client import Api
from dev.postgres import Postgres
from dev.process import LOOPBACK, free_port, kill_session
from dev.valkey import Valkey
from shared.core.settings import Settings
from tests.faults.proxy import Proxy
from tests.stack import Stack, migrate

WEBS, WORKERS, BEATS = 2, 2, 2
READY_SECONDS = 60.0
END_SECONDS = 30.0
DATABASE = "parley"
SCHEDULER = "redbeat.RedBeatScheduler"  # as in docker/compose.yml


@dataclass(frozen=True, slots=True)
class Legs:
    """The ways of one process to the servers."""

    postgres: Proxy
    valkey: Proxy


class Site(Stack):
    """Everything of one installation. `more` are settings other than the usual ones."""

    def __init__(self, directory: Path, *, worker_app: str = "celery_app", **more: Any) -> None:
        self._resources = ExitStack()
        # PostgreSQL may run as another user, who cannot look into pytest's folders.
        self._home = Path(tempfile.mkdtemp(prefix="parley-faults-"))
        self._home.chmod(0o755)
        self.directory = directory
        self.postgres = Postgres(self._home / "postgres")
        self.valkey = Valkey(directory / "valkey", port=free_port(), appendonly=True)
        self.legs: dict[str, Legs] = {}
        self._more = more
        self._worker_app = worker_app
        self._started: dict[str, tuple[list[str], dict[str, str]]] = {}
        self._ours: set[str] = set()  # processes that the test ended; the others are started again when they end
        self.revived: Counter[str] = Counter()
        super().__init__(Settings(env="test"), directory)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        self._resources.enter_context(self.valkey)
        self._resources.enter_context(self.postgres)
        url = self.postgres.create_database(DATABASE)
        migrate(url)
        given: dict[str, Any] = {
            "env": "test",
            "secret_key": secrets.token_urlsafe(48),
            "jwt_secret_key": secrets.token_urlsafe(48),
            "database_url": url,
            "redis_url": self.valkey.url,
            "ratelimit_enabled": False,
            "access_token_ttl": 7200,
            "log_level": "WARNING",
        }
        self.settings = Settings(**given, **self._more)
        for index in range(WEBS):
            self.start_web(**self._legs(f"web{index}"))
        for index in range(WORKERS):
            self.start_worker(f"worker{index}", app=self._worker_app, **self._legs(f"worker{index}"))
        for index in range(BEATS):
            self.start_beat(f"beat{index}", scheduler=SCHEDULER, **self._legs(f"beat{index}"))
        self.wait_until_ready()

    def _legs(self, name: str) -> dict[str, str]:
        """Give a process its proxies; return the addresses of the servers behind them."""
        legs = Legs(
            self._resources.enter_context(Proxy(self.postgres.port)),
            self._resources.enter_context(Proxy(self.valkey.port)),
        )
        self.legs[name] = legs
        database = make_url(self.settings.database_url).set(port=legs.postgres.port)
        return {
            "DATABASE_URL": database.render_as_string(hide_password=False),
            "REDIS_URL": f"redis://{LOOPBACK}:{legs.valkey.port}/0",
        }

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():  # nothing is left to be finished: what they hold is thrown away
            kill_session(process)
        self.go_on()
        self._resources.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _spawn(self, name: str, command: list[str], **more: str) -> None:
        self._started[name] = (command, more)
        self._ours.discard(name)
        super()._spawn(name, command, **more)

    def restart(self, name: str, **other: str) -> None:
        """Start a process that has ended as it was started before, a web process on its old port."""
        command, more = self._started[name]
        self._spawn(name, command, **{**more, **other})

    @contextmanager
    def another_web(self, **more: str) -> Iterator[int]:
        """Start one more web process, with other settings, for a while; yield its port."""
        index = self.start_web(**self._legs(f"web{len(self.ports)}"), **more)
        try:
            self.until(partial(self.is_up, index), READY_SECONDS, f"web{index} is ready")
            yield self.ports[index]
        finally:
            self.kill(f"web{index}")
            del self.processes[f"web{index}"]
            del self.ports[index]

    # --- state

    @property
    def webs(self) -> list[str]:
        """Return the names of the web processes."""
        return [f"web{index}" for index in range(WEBS)]

    @property
    def dsn(self) -> str:
        """Return the address of the database for psycopg, past all proxies."""
        user = make_url(self.settings.database_url).username
        return f"host={LOOPBACK} port={self.postgres.port} user={user} dbname={DATABASE}"

    def connect(self) -> "psycopg.Connection[Any]":
        """Return a connection to the database, past all proxies."""
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=5)

    def is_up(self, index: int, path: str = "//readyz") -> bool:
        """Tell whether a web process says that it is ready."""
        with suppress(OSError):
            return Api(self.url_of(index), seconds=5).get(path).status == 200
        return False

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every web process is ready: database, Valkey and a worker answer."""
        for index in range(WEBS):
            self.until(partial(self.is_up, index), seconds, f"web{index} is ready")

    def until(self, predicate: Callable[[], bool], seconds: float, what: str, pause: float = 0.05) -> float:
        """Ask until the answer is yes; return how long it took. For what nobody tells us of."""
        began = time.monotonic()
        while not predicate():
            self.revive()
            if time.monotonic() - began > seconds:
                logs = "\n".join(f"--- {name}\n{self.log_of(name)[-2000:]}" for name in self.processes)
                raise AssertionError(f"not within {seconds} s: {what}\n{logs}")
            time.sleep(pause)
        return time.monotonic() - began

    def revive(self) -> None:
        """Start again what ended by itself, as every service manager does."""
        for name, process in self.processes.copy().items():
            if name not in self._ours and process.poll() is not None:
                self.revived[name] += 1
                self.restart(name)

    def beats_revived(self) -> int:
        """Return how often a beat ended by itself and was started again, since the site was put in order."""
        return sum(times for name, times in self.revived.items() if name.startswith("beat"))

    def repair(self) -> None:
        """Put everything back: proxies pass, servers run, every process is there and ready."""
        for legs in self.legs.values():
            legs.postgres.heal()
            legs.valkey.heal()
        self.go_on()
        if not _runs(self.valkey):
            self.valkey.start()
        if not _runs(self.postgres):
            self.postgres.start()
        for name, process in self.processes.copy().items():
            if process.poll() is not None:
                self.restart(name)
        self.wait_until_ready()
        self.revived.clear()

    # --- what breaks

    def kill(self, name: str) -> None:
        """Kill -9 a process and all that it started; it stays away until `restart`."""
        self._ours.add(name)
        super().kill(name)

    def kill_child(self, name: str) -> None:
        """Kill -9 the children of a process: gunicorn's worker, Celery's pool."""
        for pid in children(self.processes[name].pid):
            _signal(pid, signal.SIGKILL)

    def terminate(self, name: str, by: signal.Signals = signal.SIGTERM) -> float:
        """Ask a process to end; return how many seconds it took."""
        began = time.monotonic()
        self._ours.add(name)
        self.processes[name].send_signal(by)
        self.processes[name].wait(END_SECONDS)
        return time.monotonic() - began

    def kill_valkey(self) -> None:
        """Kill -9 Valkey."""
        assert self.valkey.process is not None
        kill_session(self.valkey.process)

    def stop_postgres(self, by: signal.Signals = signal.SIGINT) -> None:
        """End PostgreSQL: SIGINT is "fast", SIGQUIT "immediate", like a crash. `postgres.start` brings it back."""
        assert self.postgres.process is not None
        self.postgres.process.send_signal(by)
        self.postgres.process.wait(END_SECONDS)
        self.postgres.stop()

    def hold(self, *servers: Postgres | Valkey) -> None:
        """Stop servers with SIGSTOP, all their processes: they hold every connection and say nothing."""
        for pid in _pids(servers):
            _signal(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let servers that were held go on."""
        for pid in _pids((self.postgres, self.valkey)):
            _signal(pid, signal.SIGCONT)


def _runs(server: Postgres | Valkey) -> bool:
    return server.process is not None and server.process.poll() is None


def _pids(servers: Iterable[Postgres | Valkey]) -> list[int]:
    pids = []
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            pids.extend([server.process.pid, *children(server.process.pid)])
    return pids


def children(pid: int) -> list[int]:
    """Return the direct children of a process of ours."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def memory_of(pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    pages = 0
    for each in (pid, *children(pid)):
        with suppress(OSError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
