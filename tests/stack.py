"""The product as processes, for tests with real sockets, real workers and real kills."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from dev.http_client import Api
from dev.process import LOOPBACK, free_port, kill_session, spawn
from dev.websocket_client import Socket
from shared.core.ids import new_id
from shared.core.queue import LANES
from shared.core.settings import Settings, default_of, environment_name

PROJECT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """Return the environment that says what `settings` say."""
    environ = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START") if name in os.environ
    }
    for field in fields(Settings):
        value: Any = getattr(settings, field.name)
        if value != default_of(field):
            environ[environment_name(field)] = ",".join(value) if isinstance(value, list) else str(value)
    return {**environ, "FLASK_APP": "wsgi", "PYTHONUNBUFFERED": "1", **more}


def migrate(database_url: str) -> None:
    """Bring an empty database to the newest schema."""
    settings = Settings(env="test", secret_key="s" * 40, jwt_secret_key="j" * 40, database_url=database_url)
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"],
        cwd=PROJECT,
        env=environment(settings),
        check=True,
        capture_output=True,
        text=True,
    )


class Stack:
    """Web processes (each a gunicorn of its own), workers and beat. More can be started and any can be killed."""

    def __init__(self, settings: Settings, directory: Path, *, webs: int = 1, with_workers: bool = True) -> None:
        self.settings = settings
        self._directory = directory
        self._webs = webs
        self._with_workers = with_workers
        self.ports: list[int] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Return where the first web process answers."""
        return self.url_of(0)

    def url_of(self, index: int) -> str:
        """Return where a web process answers."""
        return f"http://{LOOPBACK}:{self.ports[index]}"

    def start_web(self, **more: str) -> int:
        """Start a gunicorn; return its index."""
        index = len(self.ports)
        self.ports.append(free_port())
        self._spawn(
            f"web{index}",
            ["gunicorn", "-c", "docker/gunicorn.conf.py", "wsgi:app"],
            PORT=str(self.ports[index]),
            HOST=LOOPBACK,
            **more,
        )
        return index

    def start_worker(
        self,
        name: str = "worker",
        *,
        app: str = "celery_app",
        lanes: Sequence[str] = LANES,
        threads: str = "",
        **more: str,
    ) -> None:
        """Start a Celery worker, with `threads` or else two processes; `app` may be a module that adds jobs to
        celery_app's.
        """
        quiet = ["-l", "WARNING", "--without-mingle", "--without-gossip"]
        pool = ["-P", "threads", "-c", threads] if threads else ["-c", "2"]
        options = ["-Q", ",".join(lanes), *pool, *quiet, "-n", f"{name}@%h"]
        self._spawn(name, ["celery", "-q", "-A", app, "worker", *options], PYTHONWARNINGS="ignore", **more)

    def start_beat(self, name: str = "beat", *, scheduler: str | None = None, **more: str) -> None:
        """Start a beat, with Celery's own scheduler unless one is named."""
        keeper = ["-s", str(self._directory / f"{name}-schedule")] if scheduler is None else ["-S", scheduler]
        command = ["celery", "-q", "-A", "celery_app", "beat", "-l", "WARNING", *keeper, "--pidfile="]
        self._spawn(name, command, **more)

    def kill(self, name: str) -> None:
        """Kill -9 a process and all that it started."""
        kill_session(self.processes[name])

    def _spawn(self, name: str, command: list[str], **more: str) -> None:
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = spawn(
                [sys.executable, "-m", *command], output=log, cwd=PROJECT, env=environment(self.settings, **more)
            )

    def log_of(self, name: str) -> str:
        """Return what a process has printed."""
        return (self._directory / f"{name}.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            for _ in range(self._webs):
                self.start_web()
            if self._with_workers:
                self.start_worker()
                self.start_beat()
            for index in range(self._webs):
                self.wait_until_up(index)
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_up(self, index: int, path: str | None = None) -> None:
        """Wait until a web process serves, and (with workers) everything is ready."""
        api = Api(self.url_of(index))
        wanted = path or ("//readyz" if self._with_workers else "//healthz")
        until = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                if api.get(wanted).status == 200:
                    return
            if time.monotonic() > until:
                logs = "\n".join(f"--- {name}\n{self.log_of(name)[-3000:]}" for name in self.processes)
                raise AssertionError(f"the stack did not come up\n{logs}")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.processes)):
            self.processes[name].terminate()
        until = time.monotonic() + 8
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
            kill_session(process)

    def person(self, name: str = "Somebody", *, web: int = 0) -> Api:
        """Register somebody and return their connection, with the token set."""
        api = Api(self.url_of(web))
        account = {"email": f"{new_id().lower()}@example.com", "name": name, "password": "correct horse battery"}
        api.token = api.post("/auth/register", account).data["access_token"]
        return api

    def meeting(self, host: Api, **wishes: Any) -> str:
        """Make and start a meeting; return its id."""
        meeting_id: str = host.post("/meetings", {"title": "A meeting", **wishes}).data["meeting_id"]
        assert host.post(f"/meetings/{meeting_id}/start").status == 200
        return meeting_id

    def socket(self, person: Api, meeting_id: str, *, web: int = 0, **options: Any) -> Socket:
        """Open somebody's WebSocket and read its welcome."""
        return Socket.open(self.url_of(web), meeting_id, token=person.token, **options)
