"""The ledger: every durable event of a meeting, one gapless sequence per stream.

`append` takes the next number by an upsert that locks the stream's row until the commit, so numbers become visible in
order and without holes (promises M4, M5). A stream that was closed takes no more than final words: what happens after
the end of a meeting cannot slip in behind it (invariant I12).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Row,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from shared.core.database import METADATA, Id, UtcDateTime
from shared.core.errors import DomainError
from shared.core.lists import one_of
from shared.core.rows import insert_rows, inserting

WINDOW = timedelta(hours=24)  # how far back a client may resume

streams = Table(
    "streams",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("meeting_id", Id, nullable=False, index=True),
    Column("seq", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False, default=False),
    # Up to here events are in the archive (shared.core.tombstones). By the database: no event is to carry it along.
    Column("archived_seq", BigInteger, nullable=False, server_default="0"),
)

events = Table(
    "events",
    METADATA,
    Column("stream", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("meeting_id", Id, nullable=False),
    Column("type", String(40), nullable=False),
    Column("actor_id", Id),
    Column("data", Text, nullable=False),  # JSON, as it goes over the wire
    Column("effect", String(80)),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_events_meeting_id_created_at", "meeting_id", "created_at"),
)

# One row: the epoch changes when the database is restored from a backup, and tells clients not to trust their cursors.
installation = Table("installation", METADATA, Column("id", Id, primary_key=True), Column("epoch", Id, nullable=False))


class StreamClosed(DomainError):
    """The meeting of the stream is over. A door never shows it: services turn it into their own refusal."""

    code, status = "MEETING_ENDED", 410
    message = "The meeting has ended."


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it is kept. `data` is encoded JSON; `stream` the inner key."""

    stream: str
    seq: int
    meeting_id: str
    type: str
    actor_id: str | None
    data: str
    effect: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Entry":
        """Build an entry from a row of `events`."""
        return cls(row.stream, row.seq, row.meeting_id, row.type, row.actor_id, row.data, row.effect, row.created_at)


def _take(new: Any) -> Any:
    """Let an INSERT of streams add to those that are there and are not closed, and return where they stand."""
    return _add(new, where=streams.c.closed.is_(False))


def _take_final(new: Any) -> Any:
    """Let an INSERT of streams add to those that are there, closed or not, and return where they stand."""
    return _add(new, where=None)


def _add(new: Any, where: ColumnElement[bool] | None) -> Any:
    return new.on_conflict_do_update(
        index_elements=["key"], set_={"seq": streams.c.seq + new.excluded.seq}, where=where
    ).returning(streams.c.key, streams.c.seq)


def next_seqs(connection: Connection, counts: Mapping[tuple[str, str], int], *, final_word: bool) -> dict[str, int]:
    """Take the next numbers of streams and return the last of each; `counts` says by key and meeting id how many.

    The streams' rows are locked in the order of their keys, and stay locked until the transaction ends.
    Raises StreamClosed when one of them takes no more events and this is not a final word.
    """
    rows = [
        {"key": key, "meeting_id": meeting_id, "seq": count, "closed": False}
        for (key, meeting_id), count in sorted(counts.items())
    ]
    taking = inserting(connection.dialect.name, streams, rows, _take_final if final_word else _take)
    last = {row.key: int(row.seq) for row in connection.execute(*taking)}
    if len(last) < len(rows):
        raise StreamClosed
    return last


def write(connection: Connection, entries: Sequence[Entry]) -> None:
    """Insert entries whose numbers were taken in this transaction."""
    insert_rows(connection, events, [{name: getattr(entry, name) for name in Entry.__slots__} for entry in entries])


def close_streams(connection: Connection, meeting_id: str) -> None:
    """Let no stream of the meeting grow any more, but for final words.

    Takes the streams in the order of their keys, as everybody does who needs several.
    """
    connection.execute(
        select(streams.c.key).where(streams.c.meeting_id == meeting_id).order_by(streams.c.key).with_for_update()
    )
    connection.execute(update(streams).where(streams.c.meeting_id == meeting_id).values(closed=True))


_HELD = select(streams.c.key).where(one_of(streams.c.key, "keys")).order_by(streams.c.key).with_for_update()


def hold(connection: Connection, keys: Iterable[str]) -> None:
    """Lock streams until the commit, in the order of their keys; those without an event yet are nobody's."""
    connection.execute(_HELD, {"keys": list(keys)}).all()


def redact(connection: Connection, stream: str, seq: int, data: str) -> None:
    """Replace what an event said by a tombstone; its number and type stay, so the stream keeps no hole."""
    connection.execute(update(events).where(events.c.stream == stream, events.c.seq == seq).values(data=data))


def redact_later(connection: Connection, stream: str, seq: int, beginning: str, data: str) -> None:
    """Replace likewise what all those events behind `seq` said whose data have this beginning."""
    behind = (events.c.stream == stream, events.c.seq > seq)
    connection.execute(
        update(events).where(*behind, events.c.data.startswith(beginning, autoescape=True)).values(data=data)
    )


_HEADS = select(streams.c.key, streams.c.seq).where(one_of(streams.c.key, "keys"))


def heads(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """Return the last number of each stream; 0 for a stream that has no event yet."""
    wanted = list(keys)
    known = {row.key: int(row.seq) for row in connection.execute(_HEADS, {"keys": wanted})}
    return {key: known.get(key, 0) for key in wanted}


def after(stream: str, seq: int, limit: int) -> Select[Any]:
    """Return the query for the events of a stream behind `seq`, in order, at most `limit`."""
    return select(events).where(events.c.stream == stream, events.c.seq > seq).order_by(events.c.seq).limit(limit)


_AFTER = (
    select(events)
    .where(events.c.stream == bindparam("stream"), events.c.seq > bindparam("seq"))
    .order_by(events.c.seq)
    .limit(bindparam("limit", type_=BigInteger))
)


def read(connection: Connection, stream: str, seq: int, limit: int) -> list[Entry]:
    """Return the events of a stream behind `seq`, in order, at most `limit`."""
    return [Entry.of(row) for row in connection.execute(_AFTER, {"stream": stream, "seq": seq, "limit": limit})]


def read_several(connection: Connection, since: Mapping[str, int], limit: int) -> list[Entry]:
    """Return the events of several streams, of each those behind its number, in one query.

    Stream by stream, each in order; at most `limit` in all, so that the last of them may be incomplete.
    """
    behind = or_(*(and_(events.c.stream == stream, events.c.seq > seq) for stream, seq in since.items()))
    query = select(events).where(behind).order_by(events.c.stream, events.c.seq).limit(limit)
    return [Entry.of(row) for row in connection.execute(query)]


def epoch(connection: Connection) -> str:
    """Return the installation's epoch."""
    return str(connection.execute(select(installation.c.epoch)).scalar_one())
