"""What tests stand on: a real database and a real Valkey for each test process, and the product built on them.

Nothing is emptied between tests: each makes its own people and meetings, so that they can run side by side.
`PARLEY_TEST_DB` chooses sqlite (default) or postgres; `TEST_DATABASE_URL` names a PostgreSQL server to use instead of
the embedded one.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from flask import Flask
from flask.testing import FlaskClient

from dev.postgres import Postgres
from dev.valkey import Valkey
from shared.core.settings import Settings
from shared.runtime import Runtime, build_runtime
from tests.factories.world import World
from tests.fakes.clock import FakeClock
from tests.stack import Stack, migrate
from web.app import create_app


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for this run: `postgres_only` on SQLite, and `full` unless it is asked for."""
    unfit = set()
    if _database_kind() == "sqlite":
        unfit.add("postgres_only")
    if "full" not in config.option.markexpr:
        unfit.add("full")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unfit)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: "/machine/" not in item.nodeid)  # the longest first: begun last, all would wait for it


def _database_kind() -> str:
    return os.environ.get("PARLEY_TEST_DB", "sqlite")


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A Valkey server of this test process."""
    with Valkey() as server:
        yield server


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated database of this test process."""
    if _database_kind() == "sqlite":
        with _in_memory_folder(tmp_path_factory) as folder:
            url = f"sqlite:///{folder}/parley.db"
            migrate(url)
            yield url
        return
    name = f"parley_{secrets.token_hex(6)}"
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        with _database_on(given, name) as url:
            migrate(url)
            yield url
        return
    with Postgres() as server:
        url = server.create_database(name)
        migrate(url)
        yield url


@contextmanager
def _in_memory_folder(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: a commit that waits for a disk takes 2 ms, and tests make many."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield factory.mktemp("database")
        return
    with tempfile.TemporaryDirectory(prefix="parley-", dir=memory) as folder:
        yield Path(folder)


class _database_on:  # noqa: N801  used like a function
    """A database of that name on a given server, dropped at the end."""

    def __init__(self, server_url: str, name: str) -> None:
        self._engine = sqlalchemy.create_engine(server_url, isolation_level="AUTOCOMMIT")
        self._name = name
        self._url = sqlalchemy.make_url(server_url).set(database=name)

    def __enter__(self) -> str:
        with self._engine.connect() as connection:
            connection.execute(sqlalchemy.text(f'CREATE DATABASE "{self._name}"'))
        return self._url.render_as_string(hide_password=False)

    def __exit__(self, *_: object) -> None:
        with self._engine.connect() as connection:
            connection.execute(sqlalchemy.text(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)'))
        self._engine.dispose()


@pytest.fixture(scope="session")
def settings(database_url: str, valkey: Valkey) -> Settings:
    """The settings of the product under test: limits are off, LiveKit is configured and not there."""
    return Settings(
        env="test",
        secret_key=secrets.token_urlsafe(48),
        jwt_secret_key=secrets.token_urlsafe(48),
        database_url=database_url,
        redis_url=valkey.url,
        ratelimit_enabled=False,
        livekit_url="ws://127.0.0.1:7880",
        livekit_api_key="devkey",
        livekit_api_secret=secrets.token_urlsafe(48),
    )


@pytest.fixture(scope="session")
def runtime(settings: Settings) -> Iterator[Runtime]:
    """The product's runtime on the real database and Valkey."""
    built = build_runtime(settings)
    yield built
    built.database.dispose()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
def timed(runtime: Runtime, clock: FakeClock) -> Runtime:
    """The runtime, with a clock that the test moves."""
    return replace(runtime, clock=clock)


@pytest.fixture(scope="session")
def app(runtime: Runtime) -> Flask:
    """The web application, in this process."""
    return create_app(runtime)


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    """A client of the application, without sockets."""
    return app.test_client()


@pytest.fixture
def world(app: Flask, runtime: Runtime) -> World:
    """People and meetings, made by the services; requests are answered in this process."""
    return World(app, runtime)


@pytest.fixture(scope="session")
def stack(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product as processes: gunicorn with gevent, worker and beat, on the real database and Valkey."""
    with Stack(settings, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return Path(__file__).resolve().parents[1]
