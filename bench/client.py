"""The load client, driven from here: its targets, its options, its report."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.workloads import Workload

CONCURRENCY = 32


class Target(NamedTuple):
    """One connection to open."""

    room: int
    path: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one speaks to a server. `frame` is sent, with `{n}` for the number of the message; a frame that holds
    `marker` is a delivery; a connection is open when it has received `opened_by`, or at once without."""

    frame: str
    marker: str
    opened_by: str = ""
    is_socketio: bool = False
    flood: str = ""


class ClientFailed(Exception):
    """The load client ended without a report; the message holds what it said."""


class LoadClient:
    """A load client that runs; use `running`."""

    def __init__(self, process: "subprocess.Popen[str]", errors: Path) -> None:
        self._process = process
        self._errors = errors

    def ready(self) -> int:
        """Wait until all connections were opened or refused. Returns how many are open."""
        return int(self._line("ready").split()[1])

    def go(self) -> None:
        """Let it send."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_for(self, word: str) -> None:
        """Wait for `start` or `end` of what is measured."""
        self._line(word)

    def report(self) -> dict[str, Any]:
        """Wait for the report."""
        found: dict[str, Any] = json.loads(self._line("{"))
        return found

    def _line(self, beginning: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(beginning):
            self._process.wait(10)
            raise ClientFailed(f"{line}\n{self._errors.read_text(errors='replace')[-2000:]}")
        return line


@contextmanager
def running(
    program: Path, directory: Path, port: int, targets: Sequence[Target], dialect: Dialect, workload: Workload
) -> Iterator[LoadClient]:
    """Start the load client, and end it whatever happens."""
    file, errors = directory / "targets", directory / "client.log"
    file.write_text("".join(f"{target.room} {target.path} {target.token}\n" for target in targets))
    command = [str(program), "--port", str(port), "--targets", str(file), *options(dialect, workload)]
    with errors.open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield LoadClient(process, errors)
    finally:
        process.kill()
        process.communicate()


def options(dialect: Dialect, workload: Workload) -> list[str]:
    """Return the options of the load client for a workload."""
    given: list[tuple[str, object]] = [
        ("--concurrency", CONCURRENCY),
        ("--seconds", workload.seconds),
        ("--warm", workload.warm),
        ("--opened-by", dialect.opened_by),
    ]
    if not workload.handshakes:
        given += [
            ("--frame", dialect.frame),
            ("--marker", dialect.marker),
            ("--window", workload.window),
            ("--rate", workload.rate),
            ("--senders", workload.senders),
            ("--settle", workload.settle),
            ("--drain", workload.drain),
            ("--slow", workload.slow),
            ("--flood", dialect.flood if workload.flood else ""),
        ]
    switches: list[tuple[str, Callable[[], bool]]] = [
        ("--deflate", lambda: workload.deflate),
        ("--handshakes", lambda: workload.handshakes),
        ("--socketio", lambda: dialect.is_socketio),
    ]
    words = [word for name, value in given if value for word in (name, str(value))]
    return words + [name for name, is_on in switches if is_on()]
