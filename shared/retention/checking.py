"""Checking the archive: every tombstone against its object, and every stream for events that are nowhere."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Row, func, select

from shared.core.keyring import Keyring
from shared.core.ledger import events, streams
from shared.core.storage import ObjectMissing
from shared.core.tombstones import is_genuine, tombstones
from shared.core.transaction import Transaction

OBJECTS = 50
STREAMS = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that should be there, and the tombstones that name it."""

    key: str
    rows: tuple[Row[Any], ...]

    @property
    def event_count(self) -> int:
        """Return how many events it stands for."""
        return sum(row.event_count for row in self.rows)


def objects(tx: Transaction, after: str, meeting_id: str | None) -> list[Kept]:
    """Return objects that tombstones name, in the order of their keys, behind `after`; some at a time."""
    mine = () if meeting_id is None else (tombstones.c.meeting_id == meeting_id,)
    key = tombstones.c.object_key
    keys = [
        row.object_key for row in tx.all(select(key).where(key > after, *mine).distinct().order_by(key).limit(OBJECTS))
    ]
    rows = tx.all(select(tombstones).where(key.in_(keys), *mine).order_by(key, tombstones.c.stream))
    return [Kept(name, tuple(group)) for name, group in groupby(rows, key=lambda row: str(row.object_key))]


def what_is_wrong(keyring: Keyring, kept: Kept, get: Callable[[str], bytes]) -> str | None:
    """Return what is wrong with an object or a tombstone of it; None when all is well.

    Raises StorageFailed when the storage does not answer.
    """
    for row in kept.rows:
        if not is_genuine(keyring, row):
            return f"the tombstone of {row.stream} from {row.from_seq} was changed, or signed with another SECRET_KEY"
    try:
        sha256 = hashlib.sha256(get(kept.key)).hexdigest()
    except ObjectMissing:
        return "the object is missing"
    return None if {row.sha256 for row in kept.rows} == {sha256} else "the object was changed"


@dataclass(frozen=True, slots=True)
class Page:
    """Streams that were looked at: what is wrong with some, and where the next page begins (None: there is none)."""

    wrong: Sequence[tuple[str, str]]
    last: str | None


def holes(tx: Transaction, after: str, meeting_id: str | None) -> Page:
    """Look at streams behind `after` for events that are neither in the ledger nor under a tombstone.

    The transaction must see one state of the database (`consistent`).
    """
    buried = (
        select(func.coalesce(func.sum(tombstones.c.event_count), 0))
        .where(tombstones.c.stream == streams.c.key, tombstones.c.to_seq <= streams.c.archived_seq)
        .scalar_subquery()
    )
    first = select(func.min(events.c.seq)).where(events.c.stream == streams.c.key).scalar_subquery()
    query = select(streams, buried.label("buried"), first.label("first")).where(streams.c.key > after)
    if meeting_id is not None:
        query = query.where(streams.c.meeting_id == meeting_id)
    rows = tx.all(query.order_by(streams.c.key).limit(STREAMS))
    wrong = [(row.key, why) for row in rows if (why := _hole(row)) is not None]
    return Page(wrong, rows[-1].key if len(rows) == STREAMS else None)


def _hole(row: Row[Any]) -> str | None:
    if row.buried != row.archived_seq:
        return f"events up to {row.archived_seq} are archived, and there are tombstones for {row.buried} of them"
    first = row.seq + 1 if row.first is None else row.first
    if first != row.archived_seq + 1:
        return f"events from {row.archived_seq + 1} to {first - 1} are neither in the ledger nor in the archive"
    return None
