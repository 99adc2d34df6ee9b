"""Which events leave the ledger for the archive, and when (docs/operate/retention.md).

    due:         meetings that ended before the hot window, of which nobody is still to be told
    next_piece:  the next events of one, as the object that the archive gets
                 (the object is stored and read back, outside of any transaction)
    bury:        the events go, tombstones come, in one transaction
    finish:      nothing is left of the meeting

Cut off anywhere it begins anew with the same piece: the same events make the same bytes under the same key.
"""

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, and_, bindparam, exists, or_, select, update

from shared.core import ledger, tombstones
from shared.core.ledger import Entry, streams
from shared.core.tombstones import Stretch
from shared.core.transaction import Transaction
from shared.meetings.models import meetings
from shared.realtime.envelope import frame_of
from shared.webhooks import cursors

PIECE = 2000  # events: what one transaction deletes, and some 100 KiB when packed
STREAMS = 200
MEETINGS = 100


class LedgerIncomplete(Exception):
    """Events are missing that nobody archived: such a meeting is left as it is, for somebody to look at."""


@dataclass(frozen=True, slots=True)
class Due:
    """A meeting whose events are to be archived."""

    meeting_id: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Piece:
    """Events of a meeting as one object: where it is to lie, its bytes and their hash, and which events it has."""

    meeting_id: str
    key: str
    body: bytes
    sha256: str
    stretches: tuple[Stretch, ...]

    @property
    def event_count(self) -> int:
        """Return how many events it has."""
        return sum(one.event_count for one in self.stretches)


def due(tx: Transaction, after: Due | None) -> list[Due]:
    """Return meetings behind `after` that ended before the hot window and have events in the ledger, the oldest first.

    Left out are those of which a webhook is still to be told.
    """
    ended, id_ = meetings.c.ended_at, meetings.c.id
    query = select(id_, ended).where(
        ended <= tx.now - timedelta(days=tx.settings.ledger_hot_days),
        meetings.c.archived_at.is_(None),
        ~cursors.is_owed(id_, tx.now),
    )
    if after is not None:
        query = query.where(or_(ended > after.ended_at, and_(ended == after.ended_at, id_ > after.meeting_id)))
    return [Due(row.id, row.ended_at) for row in tx.all(query.order_by(ended, id_).limit(MEETINGS))]


_UNARCHIVED = (
    select(streams.c.key, streams.c.seq, streams.c.archived_seq)
    .where(streams.c.meeting_id == bindparam("meeting_id"), streams.c.archived_seq < streams.c.seq)
    .order_by(streams.c.key)
    .limit(STREAMS)
)


def next_piece(tx: Transaction, meeting_id: str) -> Piece | None:
    """Return the next events of a meeting that are to be archived; None when all are. Raises LedgerIncomplete."""
    entries: list[Entry] = []
    for row in tx.all(_UNARCHIVED, {"meeting_id": meeting_id}):
        entries += _next_of(tx, row, PIECE - len(entries))
        if len(entries) >= PIECE:
            break
    if not entries:
        return None
    body = gzip.compress(b"".join(map(line_of, entries)), mtime=0)
    sha256 = hashlib.sha256(body).hexdigest()
    first = entries[0]
    # The hash in the key: what has a tombstone can never be replaced by anything else.
    key = f"{meeting_id}/{first.stream.replace(':', '-')}-{first.seq:010d}-{sha256[:16]}.jsonl.gz"
    return Piece(meeting_id, key, body, sha256, tuple(_stretches(entries)))


def _next_of(tx: Transaction, stream: Row[Any], limit: int) -> list[Entry]:
    entries = ledger.read(tx.connection, stream.key, stream.archived_seq, limit)
    wanted = range(stream.archived_seq + 1, stream.archived_seq + 1 + max(len(entries), 1))
    is_cut_off = len(entries) < limit and wanted[-1] < stream.seq
    if is_cut_off or [entry.seq for entry in entries] != list(wanted):
        raise LedgerIncomplete(f"{stream.key}: events behind {stream.archived_seq} are missing")
    return entries


def _stretches(entries: Sequence[Entry]) -> list[Stretch]:
    groups = [list(group) for _, group in groupby(entries, key=lambda entry: entry.stream)]
    return [Stretch(group[0].stream, group[0].seq, group[-1].seq) for group in groups]


def line_of(entry: Entry) -> bytes:
    """Return an event as a line of the archive: the frame that clients got, behind the key of its stream."""
    return b'{"stream_key":"%s",' % entry.stream.encode() + frame_of(entry)[1:] + b"\n"


def bury(tx: Transaction, piece: Piece) -> bool:
    """Delete the events of a piece that was stored and read back, and set up their tombstones.

    False, and nothing is changed, when a webhook is to be told of the meeting since. Locks the streams. Raises
    AlreadyArchived.
    """
    ledger.hold(tx.connection, [one.stream for one in piece.stretches])
    if tx.scalar(select(cursors.is_owed(piece.meeting_id, tx.now))):
        return False
    tombstones.bury(tx, piece.meeting_id, piece.stretches, piece.key, piece.sha256)
    cursors.forget_meeting(tx, piece.meeting_id)
    return True


def finish(tx: Transaction, meeting_id: str) -> None:
    """Look no more at a meeting all of whose events are archived."""
    left = exists().where(streams.c.meeting_id == meeting_id, streams.c.archived_seq < streams.c.seq)
    tx.execute(update(meetings).where(meetings.c.id == meeting_id, ~left).values(archived_at=tx.now))
