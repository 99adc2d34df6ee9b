"""Going out of a meeting: of one's own will, because the connection is lost, or because a host says so (contract 4)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, literal, select, update

from shared.core.database import UtcDateTime
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.models import meetings
from shared.meetings.queries import lock_meeting
from shared.meetings.service import check_running
from shared.participants.errors import ParticipantNotFound
from shared.participants.events import ParticipantLeft
from shared.participants.media import align
from shared.participants.membership import get_permitted
from shared.participants.models import INVITED, JOINED, LEFT, WAITING, Participant, participants, stays
from shared.participants.permissions import MEETING_LEAVE
from shared.participants.queue import tell_positions
from shared.participants.waiting_events import EntryWithdrawn, Withdrew


@dataclass(frozen=True, slots=True)
class Departure:
    """What leaving gives: when, and how many minutes all stays together lasted."""

    meeting_id: str
    left_at: datetime
    duration_minutes: float


def leave(tx: Transaction, meeting_id: str, actor: Actor) -> Departure:
    """Go out of the meeting, or out of its waiting room. Safe to repeat.

    Locks the meeting row. Emits ParticipantLeft or EntryWithdrawn. Raises MeetingNotFound, MeetingEnded,
    MeetingNotActive, InvalidMeetingState, ParticipantNotFound (never was inside).
    """
    get_permitted(tx, meeting_id, actor, MEETING_LEAVE)  # who has no business here holds up nobody
    meeting = lock_meeting(tx, meeting_id)
    me = get_permitted(tx, meeting_id, actor, MEETING_LEAVE).me
    check_running(meeting)
    if me.status == INVITED:
        raise ParticipantNotFound("You are not in this meeting.")
    if me.status == WAITING:
        me = withdraw(tx, me)
        tx.emit(Withdrew(meeting_id=meeting_id, actor_id=me.user_id, participant=me))
        tell_positions(tx, meeting_id)
    elif me.is_inside:
        me = take_out(tx, me, "left")
    return Departure(meeting_id, me.left_at or tx.now, duration_minutes(tx, me.id))


_OUTSIDE = {
    "is_screen_sharing": False,
    "is_hand_raised": False,
    "hand_raised_at": None,
}
_GONE = {"presence": None, "disconnected_at": None, "waiting_since": None}


def take_out(
    tx: Transaction, person: Participant, reason: str, *, actor_id: str | None = None, **values: Any
) -> Participant:
    """End somebody's stay: free the seat, close the interval, emit ParticipantLeft. The caller holds the meeting row.

    `values` are what becomes of the place; without any the person has left. `actor_id` is who did it, the person by
    default. Does nothing to somebody who is not inside any more.
    """
    row = tx.execute(
        update(participants)
        .where(participants.c.id == person.id, participants.c.status == JOINED)
        .values(**_OUTSIDE, **({"status": LEFT, "left_at": tx.now, **_GONE} | values))
        .returning(participants)
    ).one_or_none()
    if row is None:
        return person
    gone = Participant.of(row)
    if not gone.is_staff:
        free_seat(tx, gone.meeting_id)
    at = tx.emit(
        ParticipantLeft(meeting_id=gone.meeting_id, actor_id=actor_id or gone.user_id, participant=gone, reason=reason)
    )
    end_stays(tx, stays.c.participant_id == gone.id, at.seq if at else 0)
    align(tx, gone)
    return gone


_FREE_SEAT = (
    update(meetings).where(meetings.c.id == bindparam("meeting_id_")).values(seats_taken=meetings.c.seats_taken - 1)
)


def free_seat(tx: Transaction, meeting_id: str) -> None:
    """Give an attendee's seat back."""
    tx.execute(_FREE_SEAT, {"meeting_id_": meeting_id})


def withdraw(tx: Transaction, person: Participant, **values: Any) -> Participant:
    """Take somebody out of the waiting room; `values` are what becomes of the place. Emits EntryWithdrawn.

    Does nothing to somebody who does not wait any more.
    """
    row = tx.execute(
        update(participants)
        .where(participants.c.id == person.id, participants.c.status == WAITING)
        .values(**({"status": LEFT, "left_at": tx.now, **_GONE} | values))
        .returning(participants)
    ).one_or_none()
    if row is None:
        return person
    gone = Participant.of(row)
    tx.emit(EntryWithdrawn(meeting_id=gone.meeting_id, actor_id=gone.user_id, participant=gone))
    return gone


def end_stays(tx: Transaction, whose: ColumnElement[bool], left_seq: int) -> None:
    """End the open stays of which `whose` is true, now.

    A transaction that had to wait for its turn is older than an entry that went first: no stay ends before it began.
    """
    now = literal(tx.now, UtcDateTime)
    left_at = case((stays.c.entered_at > now, stays.c.entered_at), else_=now)
    tx.execute(update(stays).where(whose, stays.c.left_at.is_(None)).values(left_at=left_at, left_seq=left_seq))


def duration_minutes(tx: Transaction, participant_id: str) -> float:
    """Return how long all stays of a participant lasted together; an open one counts until now."""
    rows = tx.all(select(stays.c.entered_at, stays.c.left_at).where(stays.c.participant_id == participant_id))
    seconds = sum(((row.left_at or tx.now) - row.entered_at).total_seconds() for row in rows)
    return float(round(seconds / 60, 3))
