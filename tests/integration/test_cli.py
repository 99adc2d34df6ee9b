"""`flask parley …`: accounts, tokens, and what the doctor finds."""

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from flask import Flask
from sqlalchemy import text

from dev.process import free_port
from dev.valkey import Valkey
from shared.core import outbox
from shared.core.ids import is_id, new_id
from shared.core.settings import Settings
from shared.core.vitals import WORKER, sign, vitals
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime, build_runtime
from tests.factories.database import empty_database, own_database
from web.app import create_app

PASSWORD = "correct horse battery"
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
NEWEST = max(path.name[:4] for path in MIGRATIONS.glob("*.py"))


@pytest.fixture(scope="module")
def own(
    settings: Settings, database_url: str, tmp_path_factory: pytest.TempPathFactory, livekit_port: int
) -> Iterator[Runtime]:
    """The runtime on a database of this module, in which everything is well."""
    with own_database(database_url, tmp_path_factory.mktemp("own")) as url:
        own = replace(settings, database_url=url, livekit_url=f"ws://127.0.0.1:{livekit_port}")
        runtime = build_runtime(own)
        with runtime.transaction() as tx:
            tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            tx.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": NEWEST})
        yield runtime
        runtime.database.dispose()


@pytest.fixture(scope="module")
def livekit_port() -> Iterator[int]:
    """Somebody takes connections there."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def well(own: Runtime) -> Runtime:
    """A worker has just been there, and no job waits."""
    with own.transaction() as tx:
        tx.execute(outbox.outbox.delete())
        sign(tx.connection, WORKER, tx.now)
    return own


class Told:
    """What a command printed, and how it ended."""

    def __init__(self, app: Flask, *words: str, typed: str | None = None) -> None:
        ended = app.test_cli_runner().invoke(args=["parley", *words], input=typed)
        self.code = ended.exit_code
        self.text = ended.output

    def line(self, part: str) -> str:
        """Return the doctor's line on a part."""
        (line,) = [line for line in self.text.splitlines() if re.match(rf"(ok |BAD)  {part} ", line)]
        return line


def create_user(app: Flask, email: str, name: str = "Ada", password: str = PASSWORD) -> Told:
    return Told(app, "create-user", "--email", email, "--name", name, "--password", password)


@pytest.fixture
def email() -> str:
    return f"{new_id().lower()}@example.com"


def test_an_account_made_here_can_log_in_and_left_no_session_open(own: Runtime, email: str) -> None:
    app = create_app(own)
    told = create_user(app, email)

    assert told.code == 0
    assert is_id(told.text.strip())
    answer = app.test_client().post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.get_json()["data"]["user"]["user_id"] == told.text.strip()
    with own.reading() as tx:
        rows = tx.all(text("SELECT revoked_at FROM sessions WHERE user_id = :id").bindparams(id=told.text.strip()))
    assert sum(row.revoked_at is None for row in rows) == 1  # the login's


def test_what_is_not_given_is_asked_for_and_the_password_stays_unseen(own: Runtime, email: str) -> None:
    told = Told(create_app(own), "create-user", typed=f"{email}\nAda\n{PASSWORD}\n{PASSWORD}\n")

    assert told.code == 0
    assert PASSWORD not in told.text


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"email": "no address"}, "email"),
        ({"password": "short"}, "password"),
        ({"name": ""}, "name"),
        ({"name": "\u200b"}, "name"),
    ],
)
def test_a_wrong_account_is_refused_naming_the_field(own: Runtime, email: str, wrong: dict, named: str) -> None:
    told = create_user(create_app(own), **{"email": email, **wrong})

    assert told.code == 1
    assert re.search(rf"^{named}: ", told.text, re.MULTILINE)
    assert "Traceback" not in told.text


def test_an_address_has_one_account(own: Runtime, email: str) -> None:
    app = create_app(own)
    create_user(app, email)
    told = create_user(app, email.upper())

    assert told.code == 1
    assert "Traceback" not in told.text


def test_the_token_of_an_account_opens_the_api(own: Runtime, email: str) -> None:
    app = create_app(own)
    create_user(app, email)
    told = Told(app, "token", "--email", email)

    assert told.code == 0
    bearer = {"Authorization": f"Bearer {told.text.strip()}"}
    assert app.test_client().get("/api/v1/auth/me", headers=bearer).get_json()["data"]["email"] == email


def test_there_is_no_token_for_nobody(own: Runtime) -> None:
    told = Told(create_app(own), "token", "--email", "nobody@example.com")

    assert told.code == 1
    assert "no account with the address nobody@example.com" in told.text


def test_without_a_database_there_is_no_token_and_no_traceback(unreachable: Runtime, email: str) -> None:
    app = create_app(unreachable)
    for told in (Told(app, "token", "--email", email), create_user(app, email)):
        assert told.code == 1
        assert "Traceback" not in told.text
        assert told.text.startswith("Error: ")


@pytest.fixture
def unreachable(own: Runtime) -> Iterator[Runtime]:
    """The runtime of a machine where nothing answers."""
    nowhere = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    settings = replace(
        own.settings,
        database_url=nowhere,
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        livekit_url=f"ws://127.0.0.1:{free_port()}",
    )
    runtime = build_runtime(settings)
    yield runtime
    runtime.database.dispose()


def examine(runtime: Runtime) -> Told:
    return Told(create_app(runtime), "doctor")


def test_the_doctor_finds_nothing_wrong_when_all_is_well(well: Runtime) -> None:
    told = examine(well)

    assert told.code == 0, told.text
    assert [line.split()[:2] for line in told.text.splitlines()] == [
        ["ok", part] for part in ("settings", "database", "redis", "worker", "outbox", "livekit")
    ]


def test_the_doctor_names_everything_that_does_not_answer(unreachable: Runtime) -> None:
    told = examine(unreachable)

    assert told.code == 1
    assert told.line("settings").startswith("ok")
    assert "DATABASE_URL" in told.line("database")
    assert "REDIS_URL" in told.line("redis")
    assert "cannot be reached" in told.line("livekit")
    for part in ("database", "redis", "worker", "outbox", "livekit"):
        assert told.line(part).startswith("BAD")


def test_the_doctor_sees_a_database_without_tables(well: Runtime, database_url: str, tmp_path: Path) -> None:
    with empty_database(database_url, tmp_path) as url:
        runtime = build_runtime(replace(well.settings, database_url=url))
        told = examine(runtime)
        runtime.database.dispose()

    assert told.code == 1
    assert "flask db upgrade" in told.line("database")
    assert told.line("worker").startswith("BAD")
    assert told.line("outbox").startswith("BAD")


def test_the_doctor_sees_an_old_schema(well: Runtime) -> None:
    with well.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    try:
        told = examine(well)
    finally:
        with well.transaction() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :newest"), {"newest": NEWEST})

    assert told.code == 1
    assert f"the schema is at 0000, not at {NEWEST}" in told.line("database")


def test_the_doctor_misses_a_worker(well: Runtime) -> None:
    with well.transaction() as tx:
        tx.execute(vitals.delete())
    told = examine(well)

    assert told.code == 1
    assert "are a worker and beat running" in told.line("worker")


def test_the_doctor_sees_a_job_that_waits_for_too_long(well: Runtime) -> None:
    with well.transaction() as tx:
        outbox.write(tx.connection, {new_id(): DeleteRoom(room="r")}, tx.now - timedelta(minutes=5))
    told = examine(well)

    assert told.code == 1
    assert told.line("outbox").startswith("BAD")
    assert re.search(r" 3\d\d s old", told.line("outbox"))


def test_the_doctor_warns_of_a_broker_that_evicts(well: Runtime, valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            told = examine(well)
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    assert told.code == 1
    assert "set noeviction" in told.line("redis")


def test_the_doctor_is_content_without_livekit(well: Runtime) -> None:
    told = examine(
        replace(well, settings=replace(well.settings, livekit_url="", livekit_api_key="", livekit_api_secret=""))
    )

    assert told.code == 0
    assert "not configured" in told.line("livekit")
