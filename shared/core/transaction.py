"""One transaction: the state, its events and its jobs, committed together or not at all."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Row, Table

from shared.core import ledger, outbox, strict_json
from shared.core.cache import Cache
from shared.core.clock import Clock
from shared.core.database import Database, insert_into, queue_statements
from shared.core.ids import new_id
from shared.core.keyring import Keyring
from shared.core.ledger import Entry
from shared.core.listeners import tell
from shared.core.messages import Announcement, Event, Job, MeetingEvent, Signal
from shared.core.outbox import Errand
from shared.core.rows import Rows, inserting
from shared.core.settings import Settings
from shared.core.streams import wire_name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event stands: `stream` as the inner key, and its number there."""

    stream: str
    seq: int

    @property
    def name(self) -> str:
        """Return what the client calls the stream."""
        return wire_name(self.stream)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a service may use besides the database. The cache answers from memory only, see shared.core.cache."""

    settings: Settings
    keyring: Keyring
    cache: Cache


class Transaction:
    """What a service gets: statements, `emit`, `enqueue`, one `now`. Never the network.

    `entries`, `signals`, `orders` and `errands` are what leaves after the commit. `unsettled` are the ids of what was
    changed here and is read through the cache: until the commit nobody else may be given it.
    """

    def __init__(self, connection: Connection, now: datetime, tools: Tools) -> None:
        self.connection = connection
        self.now = now
        self.settings = tools.settings
        self.keyring = tools.keyring
        self.cache = tools.cache
        self.entries: list[Entry] = []
        self.signals: list[Signal] = []
        self.orders: list[str] = []
        self.errands: Sequence[Errand] = ()
        self.unsettled: set[str] = set()
        self._jobs: dict[str, Job] = {}  # by the id of their outbox row
        self._last: dict[Callable[[Transaction, list[Any]], None], list[Any]] = {}
        self._later: list[tuple[Executable, Any]] = []

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Run a statement."""
        return self.connection.execute(statement, values)

    def first(self, statement: Executable, values: Any = None) -> Row[Any] | None:
        """Return the first row or None."""
        return self.connection.execute(statement, values).first()

    def all(self, statement: Executable, values: Any = None) -> Sequence[Row[Any]]:
        """Return all rows."""
        return self.connection.execute(statement, values).all()

    def scalar(self, statement: Executable, values: Any = None) -> Any:
        """Return the first column of the first row, or None."""
        return self.connection.execute(statement, values).scalar()

    def insert(self, table: Table) -> Any:
        """Return an INSERT of the dialect at hand, which knows ON CONFLICT."""
        return insert_into(self.connection, table)

    def emit(self, event: Event) -> Position | None:
        """Say that something happened: give it its number, and let the listeners follow up.

        A MeetingEvent locks its stream's row until the commit and returns its position; a Signal is told after the
        commit and returns None; so does a plain Event, which only the listeners hear.
        Raises StreamClosed when the meeting is over.
        """
        position = None
        if isinstance(event, MeetingEvent):
            (position,) = self._record([event])
        elif isinstance(event, Signal):
            self.signals.append(event)
        tell(self, event)
        return position

    def emit_all(self, events: Sequence[MeetingEvent]) -> list[Position]:
        """Emit events of the same kind, those of a stream in this order; one statement gives them their numbers."""
        positions = self._record(events) if events else []
        for event in events:
            tell(self, event)
        return positions

    def _record(self, events: Sequence[MeetingEvent]) -> list[Position]:
        counts = Counter((event.stream, event.meeting_id) for event in events)
        last = ledger.next_seqs(self.connection, counts, final_word=events[0].final_word)
        numbers = {key: count(last[key] - taken + 1) for (key, _), taken in counts.items()}
        new = [
            Entry(
                stream=event.stream,
                seq=next(numbers[event.stream]),
                meeting_id=event.meeting_id,
                type=event.type,
                actor_id=event.actor_id,
                data=encode_data(event),
                effect=event.effect,
                created_at=self.now,
            )
            for event in events
        ]
        self.entries += new
        return [Position(entry.stream, entry.seq) for entry in new]

    def enqueue(self, job: Job, *, row_id: str | None = None) -> None:
        """Decide that a job shall run; it leaves with the commit. `row_id` names its outbox row."""
        self._jobs[row_id or new_id()] = job

    def order(self, order: str) -> None:
        """Tell every web process, after the commit, to look at something at once (see shared.realtime.orders)."""
        self.orders.append(order)

    def bound_statements(self, seconds: float) -> None:
        """Have every later statement end within this time, all its waiting included; raises ServiceUnavailable if not.

        The connection's own limit counts for each lock anew, and PostgreSQL takes two for a row that is held: the next
        place in its line, and the row. SQLite has one lock for all, and its own limit.
        """
        if self.connection.dialect.name == "postgresql":
            self.connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")

    def at_last(self, write: "Callable[[Transaction, list[T]], None]", item: T) -> None:
        """Have `write(tx, items)` called once, right before the commit, with all items that were given for it.

        For rows that many transactions want: locked last, they are held for a moment, and whoever holds one waits for
        nothing else any more.
        """
        self._last.setdefault(write, []).append(item)

    def later(self, statement: Executable, values: Any) -> None:
        """Run a statement right before the commit, in the order in which they were given.

        For what nobody reads in this transaction. Where the database is far away, all of them take one way there
        together with the commit, and so does the ledger: a stream's row is not held meanwhile (docs/adr/0012).
        What becomes of it is raised on leaving the transaction.
        """
        self._later.append((statement, values))

    def insert_later(self, table: Table, rows: Rows) -> None:
        """Insert rows, all of the same columns, as `later`."""
        if rows:
            self.later(*inserting(self.connection.dialect.name, table, rows))

    def flush(self) -> None:
        """Write what was emitted and enqueued, and what is written at last. Called once, right before the commit."""
        for write, items in self._last.items():
            write(self, items)
        if self._later or self.entries or self._jobs:
            queue_statements(self.connection)
        if self.entries:
            ledger.write(self.connection, self.entries)
        if self._jobs:
            self.errands = outbox.write(self.connection, self._jobs, self.now)
        for statement, values in self._later:
            self.connection.execute(statement, values)


def encode_data(event: Announcement) -> str:
    """Return the `data` of an announcement as JSON text."""
    return strict_json.dumps(event.data()).decode()


@contextmanager
def begin(database: Database, clock: Clock, tools: Tools, *, consistent: bool = False) -> Iterator[Transaction]:
    """Yield a writing transaction; on leaving the block its events and jobs are written and all is committed."""
    with database.connection(consistent=consistent) as connection:
        tx = Transaction(connection, clock.now(), tools)
        yield tx
        tx.flush()


@contextmanager
def begin_reading(database: Database, clock: Clock, tools: Tools, *, consistent: bool = False) -> Iterator[Transaction]:
    """Yield a transaction for reads only; nothing can be emitted from it."""
    with database.connection(read_only=True, consistent=consistent) as connection:
        yield Transaction(connection, clock.now(), tools)
