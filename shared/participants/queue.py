"""The queue of the waiting room: who stands where."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select

from shared.core.transaction import Transaction
from shared.participants.models import WAITING, Participant, participants
from shared.participants.waiting_events import QueueMoved


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody in the queue; `position` 1 is next."""

    participant: Participant
    position: int


_QUEUE = (
    select(participants)
    .where(participants.c.meeting_id == bindparam("meeting_id"), participants.c.status == WAITING)
    .order_by(participants.c.waiting_since, participants.c.id)
)


def waiters(tx: Transaction, meeting_id: str) -> list[Waiter]:
    """Return who waits, in the order in which they came."""
    rows = tx.all(_QUEUE, {"meeting_id": meeting_id})
    return [Waiter(Participant.of(row), position) for position, row in enumerate(rows, 1)]


_LAST = select(func.max(participants.c.waiting_since)).where(
    participants.c.meeting_id == bindparam("meeting_id"), participants.c.status == WAITING
)


def next_turn(tx: Transaction, meeting_id: str) -> datetime:
    """Return the time that puts somebody last: who had to wait for the lock began before those who went first.

    The caller holds the meeting row.
    """
    last = tx.scalar(_LAST, {"meeting_id": meeting_id})
    return tx.now if last is None else max(tx.now, last + timedelta(microseconds=1))


def tell_positions(tx: Transaction, meeting_id: str) -> None:
    """Tell everybody who waits where they stand. Emits QueueMoved for each."""
    for waiter in waiters(tx, meeting_id):
        tx.emit(QueueMoved(meeting_id=meeting_id, participant_id=waiter.participant.id, position=waiter.position))
