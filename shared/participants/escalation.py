"""A waiting room that nobody answers: after a while the policy does (contract 6: `waiting_room_escalation`)."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update

from shared.core.transaction import Transaction
from shared.meetings.queries import lock_if_running
from shared.participants.handover import is_inside, promote
from shared.participants.locking import lock_places
from shared.participants.models import ATTENDEE, CO_HOST, JOINED, STAFF, WAITING, Participant, participants
from shared.participants.unattended import unanswered
from shared.participants.waiting import turn_away
from shared.participants.waiting_events import EntryOverdue, WaiterAddressed
from shared.policies.cache import get_policy
from shared.policies.models import CLOSE, PROMOTE

LIMIT = 500
UNANSWERED = "Nobody has answered yet."
CLOSED = "Nobody has answered."


def escalate(tx: Transaction, meeting_id: str) -> int:
    """Do for those who have waited too long what the policy says, once for each and at most 500. Returns how many.

    notify: hosts and co-hosts are told, and those who wait. promote: so too, and when neither a host nor a co-host is
    inside, the attendee with an account who has been inside for longest becomes a co-host. close: they are turned away.

    Locks the meeting row, then their places. Emits EntryOverdue and WaiterAddressed, or what `turn_away` emits; with a
    promotion RoleChanged and ParticipantUpdated.
    """
    meeting = lock_if_running(tx, meeting_id)
    if meeting is None:
        return 0
    policy = get_policy(tx, meeting)
    if not policy.waiting_room_timeout_minutes:
        return 0
    promotes = policy.waiting_room_escalation == PROMOTE
    if promotes:  # the heir's place may come before those of the waiters
        lock_places(tx, meeting_id, participants.c.status.in_((JOINED, WAITING)))
    people = _overdue(tx, meeting_id, policy.waiting_room_timeout_minutes)
    if not people:
        return 0
    if policy.waiting_room_escalation == CLOSE:
        turn_away(tx, people, CLOSED)
        return len(people)
    if promotes and not is_inside(tx, meeting_id, participants.c.role.in_(STAFF)):
        promote(tx, meeting, (ATTENDEE,), CO_HOST)
    _tell(tx, meeting_id, people)
    return len(people)


def _overdue(tx: Transaction, meeting_id: str, minutes: int) -> list[Participant]:
    """Return who has waited too long, in the order of their ids; from now on they have been seen to."""
    late = unanswered(tx.now - timedelta(minutes=minutes))
    query = select(participants).where(participants.c.meeting_id == meeting_id, *late)
    rows = tx.all(query.order_by(participants.c.id).limit(LIMIT).with_for_update(key_share=True, skip_locked=True))
    people = [Participant.of(row) for row in rows]
    if people:
        seen = participants.c.id.in_([person.id for person in people])
        tx.execute(update(participants).where(seen).values(escalated_at=tx.now))
    return people


def _tell(tx: Transaction, meeting_id: str, people: Sequence[Participant]) -> None:
    tx.emit_all([EntryOverdue(meeting_id=meeting_id, participant=person) for person in people])
    for person in people:
        tx.emit(WaiterAddressed(meeting_id=meeting_id, participant=person, text=UNANSWERED))
