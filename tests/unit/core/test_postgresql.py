"""The driver's own watch, on a real PostgreSQL that answers later than anybody wants to wait."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from dev.postgres import Postgres
from shared.core.database import STATEMENT_TIMEOUT_SECONDS, Database
from shared.core.errors import ServiceUnavailable
from shared.core.postgresql import ANSWER_SECONDS, ImpatientConnection

pytestmark = pytest.mark.once  # has a server of its own


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[ImpatientConnection]:
    url = postgres.url.replace("+psycopg", "")
    with ImpatientConnection.connect(url, autocommit=True) as connected:
        yield connected


def test_an_answer_that_takes_too_long_closes_the_connection(connection: ImpatientConnection) -> None:
    connection.patience = 0.2
    began = time.monotonic()

    with pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.2 s"):
        connection.execute("SELECT pg_sleep(30)")

    assert time.monotonic() - began < 2
    assert connection.closed


def test_an_answer_in_time_is_an_answer(connection: ImpatientConnection) -> None:
    assert connection.execute("SELECT 1 + 1").fetchone() == (2,)


def test_without_a_limit_it_waits(connection: ImpatientConnection) -> None:
    connection.patience = None

    assert connection.execute("SELECT pg_sleep(0.3), 7").fetchone() == ("", 7)


def test_a_wait_with_a_limit_of_its_own_keeps_that_and_the_connection(connection: ImpatientConnection) -> None:
    connection.patience = 0.1

    assert list(connection.notifies(timeout=0.3)) == []
    assert not connection.closed


def test_a_server_that_works_has_the_word_before_the_client_hangs_up() -> None:
    assert STATEMENT_TIMEOUT_SECONDS < ANSWER_SECONDS
    assert ANSWER_SECONDS + 2 < 10  # a ping without an answer, and then a new connection without one (promises 1.3)


def test_the_engine_uses_it_tells_the_door_and_recovers(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImpatientConnection, "patience", 0.2)
    database = Database(postgres.create_database("impatient"))

    def wait_for_long() -> None:
        with database.connection() as connection:
            connection.execute(text("SELECT pg_sleep(3)"))

    with pytest.raises(ServiceUnavailable):
        wait_for_long()
    with database.connection() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    database.dispose()
