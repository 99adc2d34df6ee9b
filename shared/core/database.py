"""The database: one engine per process, two dialects, plain SQLAlchemy Core.

Tables are declared in `<capability>/models.py` on the one METADATA. Services write statements, not units of work:
measured on the join path, Core costs 40 % less CPU than the ORM's unit of work (docs/adr/0003). A statement that every
request runs is a constant of its module and gets its values when it is executed: building it anew, and finding what it
was compiled to, costs as much as running it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    String,
    Table,
    TypeDecorator,
    create_engine,
    event,
    exc,
    make_url,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from shared.core.errors import ServiceUnavailable

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(26)
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

STATEMENT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT_SECONDS = 2
POOL_TIMEOUT_SECONDS = 5  # requests stand in line before (web.http.admission), handshakes and frames stand here

# PostgreSQL: deadlock detected, could not serialize, lock not available is handled apart.
_RETRY_STATES = {"40P01", "40001"}
_LOCK_STATES = {"55P03"}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite, which has no zones, keeps it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime must not reach the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def insert_into(connection: Connection, table: Table) -> Any:
    """Return the dialect's INSERT, the one that knows ON CONFLICT."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> Any:
    """Return the INSERT of the dialect of that name, for statements that are built once per dialect."""
    return sqlite_insert(table) if dialect == "sqlite" else postgresql_insert(table)


def queue_statements(connection: Connection) -> None:
    """Keep all further statements back, for the commit to send them; nobody may ask for an answer.

    The commit raises what became of them. Where the database is a file nothing is gained, and all is as before.
    """
    raw = connection.connection.driver_connection
    if connection.dialect.name == "postgresql" and raw is not None:
        raw.queue()


class TransactionConflict(Exception):
    """The database undid the transaction because of a concurrent one; running it again is safe and expected."""


class LockTimeout(ServiceUnavailable):
    """A row stayed locked by somebody else for too long."""


class Database:
    """The engine of one process. `url` is a SQLAlchemy URL; SQLite files run in WAL mode."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.metadata = METADATA
        self._reserve: Database | None = None
        self.engine = self._sqlite_engine(pool_size) if self.is_sqlite else self._postgresql_engine(pool_size)
        # SQLite has one writer. Waiting for it here, and not inside SQLite, lets other greenlets of this process run.
        self._writer = threading.Lock() if self.is_sqlite else None

    def _sqlite_engine(self, pool_size: int) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            json_serializer=_dump_json,
            json_deserializer=orjson.loads,
            connect_args={"timeout": 5.0, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def on_connect(raw: Any, _record: Any) -> None:
            raw.isolation_level = None  # no implicit BEGIN: the driver would start transactions too late
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
                raw.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            # A transaction that reads first and writes later must own the write lock from the start, or two of them
            # read the same state and one is lost (or refused at its first write).
            reads = connection.get_execution_options().get("parley_read_only", False)
            connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

        return engine

    def _postgresql_engine(self, pool_size: int) -> Engine:
        options = (
            f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c lock_timeout={LOCK_TIMEOUT_SECONDS}s "
            "-c idle_in_transaction_session_timeout=15s -c synchronous_commit=on -c timezone=UTC"
        )
        engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            json_serializer=_dump_json,
            json_deserializer=orjson.loads,
            connect_args={"connect_timeout": 2, "options": options, "application_name": "parley"},
        )

        @event.listens_for(engine, "do_connect")
        def on_connect(_dialect: Any, _record: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
            from shared.core.postgresql import ImpatientConnection  # the driver is left out where SQLite is used

            return ImpatientConnection.connect(*arguments, **named)

        @event.listens_for(engine, "checkout")
        def on_checkout(raw: Any, record: Any, _proxy: Any) -> None:
            # The pool's own ping would cost a round trip and 100 us. BEGIN is sent anyway, and nothing is lost when a
            # connection whose server went away fails at it: the pool drops all that are as old, and makes a new one.
            if "used" not in record.info:
                record.info["used"] = True  # was connected a moment ago; BEGIN goes with its first statement
            elif not raw.begin():
                raise exc.InvalidatePoolError

        return engine

    @contextmanager
    def connection(self, *, read_only: bool = False, consistent: bool = False) -> Iterator[Connection]:
        """Yield a connection inside one transaction: committed when the block ends, rolled back when it raises.

        `consistent` gives one snapshot for all reads of the block. Raises ServiceUnavailable when the database does
        not answer, LockTimeout when a row stays locked, TransactionConflict when the transaction may be run again.
        """
        options: dict[str, Any] = {"parley_read_only": read_only}
        writer = self._writer if self._writer is not None and not read_only else nullcontext()
        try:
            with writer, self.engine.connect().execution_options(**options) as connection, connection.begin():
                if consistent and not self.is_sqlite:
                    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                yield connection
        except exc.IntegrityError:
            raise
        except (exc.DBAPIError, exc.TimeoutError) as broken:
            raise translate(broken) from broken

    def dispose(self) -> None:
        """Close all pooled connections, and from now on every other as soon as whoever uses it gives it back."""
        event.listen(self.engine, "checkin", lambda _raw, record: record.close())
        self.engine.dispose()
        if self._reserve is not None:
            self._reserve.dispose()

    def reserve(self) -> "Database":
        """Return the same database over a connection that no request can take.

        For what must not wait behind requests: a process that cannot renew its lease would count as dead, and everybody
        connected to it as gone. SQLite has one writer; there is nothing to reserve.
        """
        if self.is_sqlite:
            return self
        if self._reserve is None:
            self._reserve = Database(self.url.render_as_string(hide_password=False), pool_size=1)
        return self._reserve


def translate(broken: exc.SQLAlchemyError) -> Exception:
    """Return what a database error means to us; the error itself when it means a bug."""
    if isinstance(broken, exc.TimeoutError):
        return ServiceUnavailable("All database connections are busy; try again.")
    cause = getattr(broken, "orig", None)
    state = getattr(cause, "sqlstate", None)
    if state in _RETRY_STATES:
        return TransactionConflict(state)
    if state in _LOCK_STATES or "database is locked" in str(cause):
        return LockTimeout("Somebody else is changing this; try again.")
    if isinstance(broken, exc.OperationalError | exc.InterfaceError) or getattr(
        broken, "connection_invalidated", False
    ):
        return ServiceUnavailable()
    return broken


def _dump_json(value: Any) -> str:
    return orjson.dumps(value).decode()
