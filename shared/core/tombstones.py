"""Tombstones: what stands for events that were moved from the ledger into an archive (docs/adr/0021).

A row says of a stretch of a stream which object has it, with which hash, under a signature by a key derived from
SECRET_KEY. It is written in the transaction that deletes the events, after the object was read back: at no instant are
events in neither place. The stream's row stays, with its number and with how far it was archived.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Row,
    String,
    Table,
    bindparam,
    delete,
    select,
    update,
)

from shared.core.database import METADATA, Id, UtcDateTime
from shared.core.errors import DomainError
from shared.core.keyring import Keyring
from shared.core.ledger import events, streams
from shared.core.rows import insert_rows
from shared.core.streams import wire_name
from shared.core.transaction import Transaction

tombstones = Table(
    "ledger_tombstones",
    METADATA,
    Column("stream", String(64), primary_key=True),
    Column("from_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("to_seq", BigInteger, nullable=False),
    Column("meeting_id", Id, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("object_key", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),  # of the object, as it lies there
    Column("archived_at", UtcDateTime, nullable=False),
    Column("signature", String(64), nullable=False),
    CheckConstraint("from_seq > 0 AND event_count > 0", name="order"),
    CheckConstraint("event_count = to_seq - from_seq + 1", name="gapless"),
    Index("ix_ledger_tombstones_object_key", "object_key"),
    Index("ix_ledger_tombstones_meeting_id", "meeting_id"),
)


class EventsArchived(DomainError):
    """Somebody asks for events that are in the archive. `details` say up to which number they are."""

    code, status = "EVENTS_ARCHIVED", 410
    message = "These events were archived; those behind details.archived_until can be read."


class AlreadyArchived(Exception):
    """Somebody else archived these events meanwhile; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of one stream that follow each other: from and to which number."""

    stream: str
    from_seq: int
    to_seq: int

    @property
    def event_count(self) -> int:
        """Return how many events these are: a stream has no holes."""
        return self.to_seq - self.from_seq + 1


_ARCHIVED = select(streams.c.archived_seq).where(streams.c.key == bindparam("stream"))


def archived_until(connection: Connection, stream: str) -> int:
    """Return the last number of a stream that is archived; 0 when none is."""
    return int(connection.execute(_ARCHIVED, {"stream": stream}).scalar() or 0)


def check_kept(connection: Connection, stream: str, after_seq: int) -> None:
    """Raise EventsArchived unless all events behind `after_seq` are in the ledger.

    To be called when they were read: what is archived between the two is found by the later one.
    """
    last = archived_until(connection, stream)
    if after_seq < last:
        raise EventsArchived(details={"stream": wire_name(stream), "archived_until": last})


_MOVE_ON = (
    update(streams)
    .where(streams.c.key == bindparam("stream"), streams.c.archived_seq == bindparam("before"))
    .values(archived_seq=bindparam("to_seq"))
)
_DELETE = delete(events).where(
    events.c.stream == bindparam("stream_"), events.c.seq.between(bindparam("from_seq"), bindparam("to_seq"))
)


def bury(tx: Transaction, meeting_id: str, stretches: Sequence[Stretch], object_key: str, sha256: str) -> None:
    """Delete events that an object has, and set up their tombstones. The caller has read the object back, and has the
    streams locked.

    Raises AlreadyArchived when the stretches are not the next ones of their streams any more.
    """
    for one in stretches:
        where = {"stream": one.stream, "before": one.from_seq - 1, "to_seq": one.to_seq}
        gone = {"stream_": one.stream, "from_seq": one.from_seq, "to_seq": one.to_seq}
        if tx.execute(_MOVE_ON, where).rowcount != 1 or tx.execute(_DELETE, gone).rowcount != one.event_count:
            raise AlreadyArchived(one.stream)
    rows: list[dict[str, Any]] = [
        {
            "stream": one.stream,
            "from_seq": one.from_seq,
            "to_seq": one.to_seq,
            "meeting_id": meeting_id,
            "event_count": one.event_count,
            "object_key": object_key,
            "sha256": sha256,
            "archived_at": tx.now,
        }
        for one in stretches
    ]
    insert_rows(tx.connection, tombstones, [{**row, "signature": signature(tx.keyring, **row)} for row in rows])


def signature(keyring: Keyring, *, archived_at: datetime, **said: str | int) -> str:
    """Return the signature of what a tombstone says."""
    names = ("stream", "from_seq", "to_seq", "meeting_id", "event_count", "object_key", "sha256")
    at = archived_at.astimezone(UTC).isoformat(timespec="microseconds")
    return keyring.digest("tombstone", *(str(said[name]) for name in names), at)


def is_genuine(keyring: Keyring, row: Row[Any]) -> bool:
    """Tell whether a tombstone says what it said when it was set up, under this SECRET_KEY."""
    said = {name: value for name, value in row._mapping.items() if name in tombstones.c and name != "signature"}
    return hmac.compare_digest(signature(keyring, **said), str(row.signature))
