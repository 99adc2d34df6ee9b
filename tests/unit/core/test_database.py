"""The database: transactions on two dialects, and what its errors mean to us."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, event, exc, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from shared.core import locks
from shared.core.database import (
    Database,
    Json,
    LockTimeout,
    TransactionConflict,
    UtcDateTime,
    insert_into,
    translate,
)
from shared.core.errors import ServiceUnavailable
from shared.core.ids import new_id

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


@pytest.fixture
def row(database: Database) -> str:
    """The name of a row that the test may change."""
    name = new_id()
    with database.connection() as connection:
        connection.execute(insert(locks.leases).values(name=name, until=NOW))
    return name


@pytest.fixture
def database(database_url: str) -> Any:
    """The database of the product under test."""
    made = Database(database_url)
    yield made
    made.dispose()


def until(database: Database, name: str) -> datetime | None:
    with database.connection(read_only=True) as connection:
        return connection.execute(select(locks.leases.c.until).where(locks.leases.c.name == name)).scalar()


def change(connection: Connection, name: str, value: datetime = NOW + timedelta(days=1)) -> None:
    connection.execute(update(locks.leases).where(locks.leases.c.name == name).values(until=value))


# --- transactions ---------------------------------------------------------------------------------------------------


def test_what_a_block_did_is_there_when_it_ends(database: Database, row: str):
    with database.connection() as connection:
        change(connection, row)
    assert until(database, row) == NOW + timedelta(days=1)


def test_what_a_block_did_is_undone_when_it_raises(database: Database, row: str):
    def break_off() -> None:
        with database.connection() as connection:
            change(connection, row)
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert until(database, row) == NOW


def test_a_time_comes_back_as_it_went_in_to_the_microsecond_and_in_utc(database: Database, row: str):
    somewhere = NOW.astimezone(timezone(timedelta(hours=-7)))
    with database.connection() as connection:
        change(connection, row, somewhere)
    found = until(database, row)
    assert found == NOW
    assert found is not None
    assert found.utcoffset() == timedelta(0)


def test_a_consistent_block_sees_one_moment(database: Database, row: str):
    with database.connection(read_only=True, consistent=True) as connection:
        query = select(locks.leases.c.until).where(locks.leases.c.name == row)
        before = connection.execute(query).scalar()
        with database.connection() as other:
            change(other, row)
        assert connection.execute(query).scalar() == before
    assert until(database, row) == NOW + timedelta(days=1)


def test_a_broken_rule_of_the_schema_stays_what_it_is(database: Database, row: str):
    with pytest.raises(exc.IntegrityError), database.connection() as connection:
        connection.execute(insert(locks.leases).values(name=row, until=NOW))


def test_a_statement_that_is_a_bug_stays_a_bug(database: Database):
    with pytest.raises(exc.DBAPIError) as broken, database.connection() as connection:
        connection.execute(text("SELECT :it"), {"it": object()})
    assert not isinstance(broken.value, exc.OperationalError)


def test_upserts_are_known_on_both_dialects(database: Database, row: str):
    with database.connection() as connection:
        new = insert_into(connection, locks.leases).values(name=row, until=NOW)
        kept = new.on_conflict_do_nothing().returning(locks.leases.c.name)
        assert connection.execute(kept).all() == []


def test_json_is_kept_as_it_is(database: Database):
    table = Table("json_probe", MetaData(), Column("id", Integer, primary_key=True), Column("value", Json))
    value = {"text": "Zoë \U0001f600", "deep": [1, 2.5, None, True]}
    with database.connection() as connection:
        table.create(connection)
        connection.execute(insert(table).values(id=1, value=value))
        assert connection.execute(select(table.c.value)).scalar() == value
        table.drop(connection)


def test_a_row_that_two_want_is_waited_for_or_refused_and_changed_once(database: Database, row: str):
    """SQLite has one writer and queues; PostgreSQL waits two seconds for the row."""
    outcome: list[object] = []

    def late() -> None:
        try:
            with database.connection() as connection:
                change(connection, row, NOW + timedelta(days=2))
            outcome.append("done")
        except LockTimeout:
            outcome.append("refused")

    with database.connection() as connection:
        change(connection, row)
        thread = threading.Thread(target=late)
        thread.start()
        thread.join(2.6)
    thread.join()
    assert outcome == (["done"] if database.is_sqlite else ["refused"])
    assert until(database, row) == NOW + timedelta(days=2 if database.is_sqlite else 1)


def test_a_transaction_that_saw_an_old_state_is_undone_and_may_run_again(database: Database, row: str):
    """On SQLite it cannot happen: a writing transaction owns the write lock from its first read."""
    if database.is_sqlite:
        with database.connection() as connection:
            assert connection.get_execution_options()["parley_read_only"] is False
            assert database._writer is not None
            assert database._writer.locked()
        return

    def come_second() -> None:
        with database.connection(consistent=True) as connection:
            connection.execute(select(locks.leases).where(locks.leases.c.name == row)).one()
            with database.connection() as other:
                change(other, row)
            change(connection, row, NOW + timedelta(days=2))

    with pytest.raises(TransactionConflict):
        come_second()
    assert until(database, row) == NOW + timedelta(days=1)


# --- when it does not answer ----------------------------------------------------------------------------------------


@pytest.mark.once
def test_a_pool_that_is_used_up_is_a_service_that_is_busy(tmp_path: Path):
    small = Database(f"sqlite:///{tmp_path}/small.db", pool_size=1)
    with (
        small.connection(read_only=True),
        small.connection(read_only=True),
        pytest.raises(ServiceUnavailable, match="busy"),
        small.connection(read_only=True),
    ):
        pass
    with small.connection(read_only=True) as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    small.dispose()


def test_who_still_works_when_the_pool_is_closed_leaves_no_open_connection_behind(database_url: str):
    ended = Database(database_url)
    closed: list[object] = []
    event.listen(ended.engine, "close", lambda raw, _record: closed.append(raw))
    with ended.connection() as connection:
        in_use = connection.connection.dbapi_connection
        ended.dispose()
        assert in_use not in closed
        assert connection.execute(text("SELECT 1")).scalar() == 1
    assert in_use in closed
    with ended.connection() as connection:  # a thread of its own may come as late as that
        late = connection.connection.dbapi_connection
    assert late in closed


@pytest.mark.once
@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://parley@127.0.0.1:1/parley", "sqlite:////nowhere/at/all/parley.db"]
)
def test_a_database_that_is_not_there_is_a_service_that_is_not_available(url: str):
    with pytest.raises(ServiceUnavailable), Database(url).connection():
        pass


@pytest.mark.once
def test_a_file_that_another_process_locks_is_waited_for_and_then_refused(tmp_path: Path):
    ours, theirs = (Database(f"sqlite:///{tmp_path}/shared.db") for _ in range(2))
    with ours.connection() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    with theirs.connection() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        pooled = ours.engine.raw_connection()
        pooled.cursor().execute("PRAGMA busy_timeout=10")
        pooled.close()
        with pytest.raises(LockTimeout), ours.connection():
            pass
    for each in (ours, theirs):
        each.dispose()


# --- what errors mean -----------------------------------------------------------------------------------------------


class Broken(Exception):
    """What a driver raises."""

    def __init__(self, words: str = "broken", sqlstate: str | None = None) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


def dbapi(kind: type[exc.DBAPIError], *, invalidated: bool = False, **said: Any) -> exc.DBAPIError:
    return kind("SELECT 1", None, Broken(**said), connection_invalidated=invalidated)


@pytest.mark.once
@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (exc.TimeoutError(), ServiceUnavailable),
        (dbapi(exc.OperationalError, sqlstate="40P01"), TransactionConflict),
        (dbapi(exc.OperationalError, sqlstate="40001"), TransactionConflict),
        (dbapi(exc.OperationalError, sqlstate="55P03"), LockTimeout),
        (dbapi(exc.OperationalError, words="database is locked"), LockTimeout),
        (dbapi(exc.OperationalError, sqlstate="57P01"), ServiceUnavailable),
        (dbapi(exc.InterfaceError), ServiceUnavailable),
        (dbapi(exc.DBAPIError, invalidated=True), ServiceUnavailable),
    ],
    ids=["pool", "deadlock", "serialization", "lock", "sqlite lock", "shutdown", "interface", "invalidated"],
)
def test_an_error_of_the_database_has_a_meaning(error: exc.SQLAlchemyError, meaning: type[Exception]):
    assert type(translate(error)) is meaning


@pytest.mark.once
@pytest.mark.parametrize("error", [dbapi(exc.ProgrammingError), dbapi(exc.DataError, sqlstate="22P02")])
def test_an_error_that_means_a_bug_stays_itself(error: exc.DBAPIError):
    assert translate(error) is error


# --- times ----------------------------------------------------------------------------------------------------------

SQLITE: Callable[[], Any] = sqlite.dialect
POSTGRESQL: Callable[[], Any] = postgresql.dialect


@pytest.mark.once
@pytest.mark.parametrize("dialect", [SQLITE(), POSTGRESQL()], ids=["sqlite", "postgresql"])
def test_a_time_is_aware_on_our_side_and_nothing_stays_nothing(dialect: Any):
    kind = UtcDateTime()
    sent = kind.process_bind_param(NOW.astimezone(timezone(timedelta(hours=5))), dialect)
    assert sent is not None
    assert (sent.tzinfo is None) == (dialect.name == "sqlite")
    assert kind.process_result_value(sent, dialect) == NOW
    assert kind.process_bind_param(None, dialect) is None
    assert kind.process_result_value(None, dialect) is None


@pytest.mark.once
def test_a_naive_time_does_not_reach_the_database():
    with pytest.raises(ValueError, match="naive"):
        UtcDateTime().process_bind_param(NOW.replace(tzinfo=None), SQLITE())


@pytest.mark.once
def test_constraints_have_names_that_migrations_can_find():
    assert {c.name for c in locks.leases.constraints} == {"pk_leases"}
    assert isinstance(locks.leases.c.name.type, String)


def test_what_must_not_wait_behind_requests_has_a_connection_of_its_own(database_url: str):
    busy = Database(database_url, pool_size=1)
    try:
        if busy.is_sqlite:
            assert busy.reserve() is busy  # one writer: there is nothing to reserve
            return
        with (
            busy.connection(read_only=True),
            busy.connection(read_only=True),
            busy.reserve().connection(read_only=True) as ours,
        ):
            assert ours.execute(select(1)).scalar() == 1
        assert busy.reserve() is busy.reserve()
    finally:
        busy.dispose()
