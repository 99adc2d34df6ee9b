"""The driver's own watch, on a real PostgreSQL that answers later than anybody wants to wait."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, text

from dev.postgres import Postgres
from dev.process import free_port
from shared.core.database import STATEMENT_TIMEOUT_SECONDS, Database
from shared.core.errors import ServiceUnavailable
from shared.core.ids import new_id
from shared.core.postgresql import ANSWER_SECONDS, ImpatientConnection

IDLE, OPEN = TransactionStatus.IDLE, TransactionStatus.INTRANS

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
    assert ANSWER_SECONDS + 2 < 10  # a BEGIN without an answer, and then a new connection without one (promises 1.3)


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


# --- the transaction begins with its connection: that is the pool's ping ---------------------------------------------


@pytest.fixture
def pooled(postgres: Postgres) -> Iterator[Database]:
    """A database with three connections in its pool, each of which was used before."""
    database = Database(postgres.create_database(f"pooled_{new_id().lower()}"), pool_size=3)
    with ExitStack() as held:
        for _ in range(3):
            scalar(held.enter_context(database.connection()), "SELECT 1")
    yield database
    database.dispose()


def scalar(connection: Connection, query: str) -> Any:
    return connection.execute(text(query)).scalar()


def kill_backends(postgres: Postgres, database: Database) -> int:
    """End the server's side of every connection to the database; return how many there were."""
    query = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(postgres.url.replace("+psycopg", ""), autocommit=True) as admin:
        row = admin.execute(query, [database.url.database]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_transaction_after_the_server_dropped_every_connection_succeeds(postgres: Postgres, pooled: Database) -> None:
    assert kill_backends(postgres, pooled) == 3

    with ExitStack() as held:
        connections = [held.enter_context(pooled.connection()) for _ in range(4)]
        assert [scalar(each, "SELECT 7") for each in connections] == [7] * 4


def test_a_transaction_after_the_server_was_killed_and_started_again_succeeds() -> None:
    with tempfile.TemporaryDirectory(prefix="parley-restart-") as directory:
        Path(directory).chmod(0o755)  # the server may run as another user
        with Postgres(Path(directory, "data"), port=free_port()) as server:
            database = Database(server.create_database("restarted"))
            for _ in range(2):
                with database.connection() as connection:
                    assert scalar(connection, "SELECT 7") == 7
                server.stop()
                with pytest.raises(ServiceUnavailable), database.connection():
                    pytest.fail("there is no server")
                server.start()
            with database.connection() as connection:
                assert scalar(connection, "SELECT 7") == 7
            database.dispose()


def test_a_connection_that_hangs_at_the_beginning_is_replaced(
    pooled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(self: ImpatientConnection, *_: object) -> None:
        self.pgconn.finish()
        raise psycopg.OperationalError("the server did not answer within 6.5 s")

    with monkeypatch.context() as patch:
        patch.setattr(ImpatientConnection, "_start_query", hang)
        held = pooled.connection()
        connection = held.__enter__()  # a new connection, whose BEGIN comes with its first statement
    assert scalar(connection, "SELECT 7") == 7
    held.__exit__(None, None, None)


def test_a_transaction_is_open_from_the_start_and_over_at_the_end(pooled: Database) -> None:
    with pooled.connection() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, ImpatientConnection)
        assert raw.info.transaction_status == OPEN
    assert raw.info.transaction_status == IDLE


def test_consistency_is_asked_for_by_one_block_and_ends_with_it(pooled: Database) -> None:
    query = "SELECT current_setting('transaction_isolation')"
    for _ in range(2):
        with pooled.connection(consistent=True) as connection:
            assert scalar(connection, query) == "repeatable read"
        with pooled.connection() as connection:
            assert scalar(connection, query) == "read committed"
