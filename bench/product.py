"""The product as it ships: gunicorn with its own configuration, PostgreSQL, Valkey; and people with tokens in meetings.

Rate limits are off (the load comes from a few senders and one address) unless a workload wants them; everything else
that a frame goes through is on.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from flask import Flask

from bench.client import Dialect, Target
from bench.ground import OTHER_CORE, PROJECT, Ground, on_core
from bench.population import Population
from bench.servers import Running, started
from bench.workloads import CHAT, Workload
from dev.process import LOOPBACK, free_port
from shared.core.settings import Settings
from shared.runtime import Runtime, build_runtime
from web.app import create_app
from web.http import tokens

TOKEN_SECONDS = 6 * 3600
WELCOME = '"type":"welcome"'
JOIN_MEETINGS = 100
JOIN_PEOPLE = 100

REACTION_FRAME = '{"type":"reaction","data":{"reaction_type":"heart"}}'
TYPING_FRAME = '{"type":"typing","data":{"is_typing":true}}'
CHAT_FRAME = (
    '{"type":"chat","id":{n},"data":{"message_type":"text","content":"Message {n}: shall we meet again next week?"}}'
)


class Site:
    """An installation of the product, prepared once for all runs: a migrated database, secrets, people."""

    def __init__(self, ground: Ground) -> None:
        self._secrets = {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "JWT_SECRET_KEY")}
        self._database_url = ground.postgres.create_database("bench")
        self._redis_url = ground.valkey.url
        self._directory = ground.directory
        subprocess.run(
            [sys.executable, "-m", "flask", "db", "upgrade"],
            cwd=PROJECT,
            env=self.environment(),
            check=True,
            capture_output=True,
        )
        self.runtime: Runtime = build_runtime(
            Settings(
                env="test",
                secret_key=self._secrets["SECRET_KEY"],
                jwt_secret_key=self._secrets["JWT_SECRET_KEY"],
                database_url=self._database_url,
                redis_url=self._redis_url,
                ratelimit_enabled=False,
            )
        )
        self.population = Population(self.runtime, partial(_sign, create_app(self.runtime)))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a process of the product."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **self._secrets,
            "FLASK_APP": "wsgi",
            "PYTHONUNBUFFERED": "1",
            "PARLEY_ENV": "test",
            "DATABASE_URL": self._database_url,
            "REDIS_URL": self._redis_url,
            "RATELIMIT_ENABLED": "false",
            "WS_MAX_PER_ADDRESS": "20000",
            "HOST": LOOPBACK,
            **more,
        }

    def metrics_directory(self, role: str) -> str:
        """Return a fresh folder for the metrics of a process, as docker/compose.yml gives one to each service."""
        directory = self._directory / f"metrics-{role}-{secrets.token_hex(4)}"
        directory.mkdir()
        return str(directory)


def _sign(app: Flask, user_id: str, session_id: str) -> str:
    with app.app_context():
        return tokens.sign("access", user_id, session_id, TOKEN_SECONDS)


class Product:
    """The contestant. One ws process; with `joins` a rest process of its own beside it, on the same core."""

    name = "Parley"

    def __init__(self, site: Site) -> None:
        self._site = site

    @contextmanager
    def serving(self, ground: Ground, workload: Workload) -> Iterator[Running]:
        """Start it, and stop it at the end."""
        limits = "true" if workload.limits else "false"
        with self._service(ground, "ws", RATELIMIT_ENABLED=limits) as (process, port):
            if not workload.joins:
                yield Running(process, port, dialect, self.targets)
                return
            with self._service(ground, "rest") as (_, rest_port):
                yield Running(process, port, dialect, self.targets, partial(self._joining, ground, rest_port))

    def rest(self, ground: Ground) -> "AbstractContextManager[tuple[subprocess.Popen[bytes], int]]":
        """Start a rest process alone; yield it and its port, and stop it at the end."""
        return self._service(ground, "rest")

    @contextmanager
    def _service(self, ground: Ground, role: str, **more: str) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
        port = free_port()
        environ = self._site.environment(
            PARLEY_ROLE=role, PORT=str(port), PROMETHEUS_MULTIPROC_DIR=self._site.metrics_directory(role), **more
        )
        command = [sys.executable, "-m", "gunicorn", "-c", "docker/gunicorn.conf.py", "wsgi:app"]
        log = ground.directory / f"parley-{role}.log"
        with started(command, port, environ, log, path="/healthz") as process:
            yield process, port

    def targets(self, workload: Workload) -> list[Target]:
        """Return a place for each socket, in new meetings."""
        ids = self._site.population.joined(workload.rooms, workload.size)
        people = self._site.population.people(workload.sockets)
        paths = [f"/ws/meetings/{id_}" for id_ in ids]
        # Room by turns, so that slow sockets, which are the last, are spread over the rooms.
        order = [(seat, room) for seat in range(workload.size) for room in range(workload.rooms)]
        return [Target(room, paths[room], people[room * workload.size + seat].token) for seat, room in order]

    def joins(self, meetings: int, people: int) -> list[dict[str, str]]:
        """Return what `bench.rest_load` posts for so many people to join each of so many new meetings, in turn."""
        ids = self._site.population.empty(meetings)
        return [
            {"path": f"/api/v1/meetings/{id_}/join", "token": person.token}
            for person in self._site.population.people(people)
            for id_ in ids
        ]

    @contextmanager
    def _joining(self, ground: Ground, port: int, workload: Workload) -> Iterator[dict[str, float]]:
        """Let people join meetings over REST until the end of the block."""
        figures: dict[str, float] = {}
        file = ground.directory / "joins.json"
        file.write_text(json.dumps(self.joins(JOIN_MEETINGS, JOIN_PEOPLE)))
        command = [sys.executable, "-m", "bench.rest_load", str(port), str(file), str(workload.warm + workload.seconds)]
        with on_core(OTHER_CORE):
            process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            yield figures
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=15)
        joined = json.loads(said)
        figures["joins_per_second"] = joined["statuses"].get("200", 0) / joined["seconds"]
        figures["joins_failed"] = joined["requests"] - joined["statuses"].get("200", 0)
        figures["joins_p99_ms"] = joined["p99_ms"]


def dialect(workload: Workload) -> Dialect:
    """Return how one speaks to the product."""
    if workload.kind == CHAT:
        return Dialect(CHAT_FRAME, '"type":"chat"', opened_by=WELCOME)
    return Dialect(REACTION_FRAME, '"type":"reaction"', opened_by=WELCOME, flood=TYPING_FRAME)
