"""The chain of a meeting's rows: each holds the hash of the one before it, and the head says where the chain ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, bindparam, select, update

from shared.audit.acts import GENESIS, Act, canonical, hash_of
from shared.audit.models import audit_events, audit_heads
from shared.core.transaction import Transaction

PAGE = 1000


def append(tx: Transaction, act: Act) -> None:
    """Have an act written to the trail of its meeting, in this transaction.

    Locks the meeting's head, right before the commit: after every stream of the ledger, always.
    """
    tx.at_last(_write, act)


_HEAD = (
    select(audit_heads.c.seq, audit_heads.c.hash)
    .where(audit_heads.c.meeting_id == bindparam("meeting_id"))
    .with_for_update()
)
_MOVE = (
    update(audit_heads)
    .where(audit_heads.c.meeting_id == bindparam("whose"))
    .values(seq=bindparam("seq"), hash=bindparam("hash"))
)


def _write(tx: Transaction, acts: list[Act]) -> None:
    """Append acts, those of one meeting in the order in which they were done."""
    for meeting_id, group in groupby(sorted(acts, key=lambda act: act.meeting_id), key=lambda act: act.meeting_id):
        seq, last = _lock_head(tx, meeting_id)
        rows: list[dict[str, Any]] = []
        for act in group:
            seq += 1
            rows.append(_row(tx, act, seq, last))
            last = rows[-1]["hash"]
        tx.insert_later(audit_events, rows)
        tx.later(_MOVE, {"whose": meeting_id, "seq": seq, "hash": last})


def _lock_head(tx: Transaction, meeting_id: str) -> tuple[int, str]:
    row = tx.first(_HEAD, {"meeting_id": meeting_id})
    if row is None:
        first = {"meeting_id": meeting_id, "seq": 0, "hash": GENESIS}
        tx.execute(tx.insert(audit_heads).on_conflict_do_nothing(), first)
        row = tx.first(_HEAD, {"meeting_id": meeting_id})
    assert row is not None
    return int(row.seq), str(row.hash)


def _row(tx: Transaction, act: Act, seq: int, previous_hash: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "meeting_id": act.meeting_id,
        "seq": seq,
        "kind": act.kind,
        "outcome": act.outcome,
        "actor_participant_id": act.actor.participant_id,
        "actor_user_id": act.actor.user_id,
        "actor_name": act.actor.name,
        "target_participant_id": act.target.participant_id,
        "target_user_id": act.target.user_id,
        "target_name": act.target.name,
        "details": canonical(act.details),
        "at": tx.now.replace(microsecond=tx.now.microsecond // 1000 * 1000),
        "previous_hash": previous_hash,
    }
    return {**row, "hash": hash_of(act.meeting_id, row)}


def chains(tx: Transaction, after_id: str) -> list[str]:
    """Return the meetings that have rows or a head, in the order of their ids, behind `after_id`; some at a time."""
    found: set[str] = set()
    for table in (audit_events, audit_heads):
        ids = select(table.c.meeting_id).where(table.c.meeting_id > after_id).distinct()
        found.update(row.meeting_id for row in tx.all(ids.order_by(table.c.meeting_id).limit(PAGE)))
    return sorted(found)[:PAGE]


_ROWS = (
    select(audit_events)
    .where(audit_events.c.meeting_id == bindparam("meeting_id"), audit_events.c.seq > bindparam("seq"))
    .order_by(audit_events.c.seq)
    .limit(bindparam("limit", type_=BigInteger))
)


@dataclass(frozen=True, slots=True)
class Checked:
    """How many rows of a chain are good, from its start; the hash of the last of them; what is wrong with the next."""

    rows: int
    last_hash: str
    wrong: str | None


def verify(tx: Transaction, meeting_id: str) -> Checked:
    """Check the chain of a meeting, up to its first broken row.

    The transaction must see one state of the database (`consistent`).
    """
    head = tx.first(select(audit_heads).where(audit_heads.c.meeting_id == meeting_id))
    end, end_hash = (0, GENESIS) if head is None else (int(head.seq), str(head.hash))
    seq, last = 0, GENESIS
    for row in _rows(tx, meeting_id):
        wrong = _what_is_wrong(row, seq, last, end)
        if wrong is not None:
            return Checked(seq, last, wrong)
        seq, last = int(row.seq), str(row.hash)
    wrong = None
    if end > seq:
        wrong = f"row {seq + 1} was deleted: the head of the chain stands at row {end}"
    elif end_hash != last:
        wrong = f"row {seq} is not the one that the head of the chain names: one of them was changed"
    return Checked(seq, last, wrong)


def _what_is_wrong(row: Any, seq: int, last: str, end: int) -> str | None:
    if row.seq != seq + 1:
        return f"row {seq + 1} was deleted: the next one there is is row {row.seq}"
    if row.hash != hash_of(row.meeting_id, row):
        return f"row {row.seq} was changed after it was written"
    if row.previous_hash != last:
        return f"row {row.seq} does not follow on the row before it: one of them was put in or replaced"
    if row.seq > end:
        return f"row {row.seq} was inserted: the head of the chain does not know it"
    return None


def _rows(tx: Transaction, meeting_id: str) -> Iterator[Any]:
    seq = 0
    while page := tx.all(_ROWS, {"meeting_id": meeting_id, "seq": seq, "limit": PAGE}):
        yield from page
        seq = page[-1].seq
