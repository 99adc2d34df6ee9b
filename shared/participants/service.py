"""Entering and leaving a meeting (contract 4)."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, literal, select, update

from shared.core.database import UtcDateTime
from shared.core.errors import ValidationFailed
from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.names import clean_name
from shared.meetings.models import Meeting, meetings
from shared.meetings.queries import get_meeting, lock_meeting
from shared.meetings.service import check_running
from shared.participants.errors import ParticipantNotFound
from shared.participants.events import EntryRequested, EntryWithdrawn, ParticipantJoined, ParticipantLeft
from shared.participants.membership import find_place, get_membership
from shared.participants.models import (
    ATTENDEE,
    DENIED,
    INVITED,
    JOINED,
    LEFT,
    REMOVED,
    WAITING,
    Participant,
    participants,
    stays,
)
from shared.participants.queries import waiting_position
from shared.policies.admission import Applicant, Verdict, decide
from shared.policies.cache import get_policy
from shared.policies.errors import MaxParticipantsReached
from shared.policies.models import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWish:
    """How somebody wants to enter. `display_name` is what others read; guests must give one."""

    device_type: str | None = None
    join_muted: bool = False
    join_without_video: bool = False
    passcode: str | None = None
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What a join gave: a seat, or a place in the queue (`position`, 1 is next). `is_new_guest` asks for a token."""

    participant: Participant
    position: int | None = None
    is_new_guest: bool = False

    @property
    def is_waiting(self) -> bool:
        """Tell whether the person has to wait."""
        return self.position is not None


def join(tx: Transaction, meeting_id: str, actor: Actor | None, wish: JoinWish) -> Admission:
    """Give the actor a seat in the meeting, or a place in its waiting room. `actor` is None for a new guest.

    Locks the meeting row, so that seats are counted one by one. Safe to repeat: who is inside keeps the one seat.
    Emits ParticipantJoined or EntryRequested. Raises, in the contract's order: MeetingNotFound, MeetingEnded,
    MeetingNotActive, InvalidMeetingState, UserBlocked, AnonymousNotAllowed, DomainNotAllowed, PasscodeRequired,
    PasscodeInvalid, MeetingLocked, MaxParticipantsReached.
    """
    seen = get_meeting(tx, meeting_id)
    if _is_full(seen, get_policy(tx, seen)):
        _judge(tx, seen, actor, wish)  # who must be refused is, without waiting for the row with all the others
    meeting = lock_meeting(tx, meeting_id)
    policy, place, verdict = _judge(tx, meeting, actor, wish)
    if place is not None and verdict is None:
        return Admission(place)
    person = place or _new_place(tx, meeting, actor, wish)
    is_new_guest = place is None and person.user_id is None
    if verdict is not None and verdict.action == "wait":
        return _queue(tx, person, is_new_guest)
    if not person.is_staff:
        _take_seat(tx, meeting, policy)
    return Admission(_enter(tx, person, policy, wish), is_new_guest=is_new_guest)


def _judge(
    tx: Transaction, meeting: Meeting, actor: Actor | None, wish: JoinWish
) -> tuple[Policy, Participant | None, Verdict | None]:
    """Return the policy, the actor's place, and the verdict: None for who is inside. Raises as `join`."""
    check_running(meeting)
    policy = get_policy(tx, meeting)
    place = None if actor is None else find_place(tx, meeting.id, actor)
    if place is not None and place.is_inside:
        return policy, place, None
    verdict = decide(policy, _applicant(actor, place, wish), tx.keyring)
    if verdict.refusal is not None:
        raise verdict.refusal(details={"rule": verdict.rule})
    if (place is None or not place.is_staff) and _is_full(meeting, policy):
        raise _full(policy)
    return policy, place, verdict


def _is_full(meeting: Meeting, policy: Policy) -> bool:
    return meeting.seats_taken >= policy.max_participants


def _full(policy: Policy) -> MaxParticipantsReached:
    return MaxParticipantsReached(details={"rule": "max_participants", "max_participants": policy.max_participants})


def _applicant(actor: Actor | None, place: Participant | None, wish: JoinWish) -> Applicant:
    return Applicant(
        user_id=actor.user_id if actor else None,
        email=actor.email if actor else None,
        is_staff=place is not None and place.is_staff,
        is_banned=place is not None and place.is_banned,
        was_admitted=place is not None and place.was_admitted and place.status not in (REMOVED, DENIED),
        passcode=wish.passcode,
    )


_TAKE_SEAT = (
    update(meetings)
    .where(meetings.c.id == bindparam("meeting_id"), meetings.c.seats_taken < bindparam("seats"))
    .values(seats_taken=meetings.c.seats_taken + 1)
)


def _take_seat(tx: Transaction, meeting: Meeting, policy: Policy) -> None:
    taken = tx.execute(_TAKE_SEAT, {"meeting_id": meeting.id, "seats": policy.max_participants})
    if taken.rowcount == 0:
        raise _full(policy)


def _new_place(tx: Transaction, meeting: Meeting, actor: Actor | None, wish: JoinWish) -> Participant:
    name = clean_name(wish.display_name or (actor.name if actor else ""))
    if not name:
        raise ValidationFailed(details={"display_name": ["Say what others should call you."]})
    return add_place(tx, meeting.id, actor.user_id if actor else None, name, ATTENDEE)


_NEW_PLACE = participants.insert().returning(participants)


def add_place(tx: Transaction, meeting_id: str, user_id: str | None, name: str, role: str) -> Participant:
    """Insert somebody's place in a meeting, in the state invited."""
    place = {
        "id": new_id(),
        "meeting_id": meeting_id,
        "user_id": user_id,
        "user_name": name,
        "role": role,
        "status": INVITED,
        "created_at": tx.now,
    }
    return Participant.of(tx.execute(_NEW_PLACE, place).one())


def _queue(tx: Transaction, person: Participant, is_new_guest: bool) -> Admission:
    if person.status == WAITING and person.waiting_since is not None:
        return Admission(person, waiting_position(tx, person.meeting_id, person.waiting_since, person.id))
    person = _change(tx, person, status=WAITING, waiting_since=tx.now, presence=None, disconnected_at=None)
    position = waiting_position(tx, person.meeting_id, tx.now, person.id)
    tx.emit(
        EntryRequested(meeting_id=person.meeting_id, actor_id=person.user_id, participant=person, position=position)
    )
    return Admission(person, position, is_new_guest)


_NEW_STAY = stays.insert()


def _enter(tx: Transaction, person: Participant, policy: Policy, wish: JoinWish) -> Participant:
    person = _change(
        tx,
        person,
        status=JOINED,
        user_name=clean_name(wish.display_name or "") or person.user_name,
        is_muted=wish.join_muted or policy.mute_on_entry,
        is_video_enabled=not (wish.join_without_video or policy.disable_camera),
        is_screen_sharing=False,
        is_hand_raised=False,
        hand_raised_at=None,
        device_type=wish.device_type,
        joined_at=tx.now,
        left_at=None,
        waiting_since=None,
        presence=None,
        disconnected_at=None,
        media_identity=secrets.token_urlsafe(16),
    )
    at = tx.emit(ParticipantJoined(meeting_id=person.meeting_id, actor_id=person.user_id, participant=person))
    tx.execute(
        _NEW_STAY,
        {
            "id": new_id(),
            "participant_id": person.id,
            "meeting_id": person.meeting_id,
            "entered_at": tx.now,
            "entered_seq": at.seq if at else 0,
        },
    )
    return person


_CHANGE = update(participants).where(participants.c.id == bindparam("whose")).returning(participants)


def _change(tx: Transaction, person: Participant, **values: Any) -> Participant:
    return Participant.of(tx.execute(_CHANGE, {"whose": person.id, **values}).one())


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
    meeting = lock_meeting(tx, meeting_id)
    me = get_membership(tx, meeting_id, actor).me
    check_running(meeting)
    if me.status == INVITED:
        raise ParticipantNotFound("You are not in this meeting.")
    if me.status == WAITING:
        me = _change(tx, me, status=LEFT, left_at=tx.now, waiting_since=None, presence=None, disconnected_at=None)
        tx.emit(EntryWithdrawn(meeting_id=meeting_id, actor_id=me.user_id, participant=me))
    elif me.is_inside:
        me = take_out(tx, me, "left")
    return Departure(meeting_id, me.left_at or tx.now, duration_minutes(tx, me.id))


def take_out(tx: Transaction, person: Participant, reason: str) -> Participant:
    """End somebody's stay: free the seat, close the interval, emit ParticipantLeft. The caller holds the meeting row.

    Does nothing to somebody who is not inside any more.
    """
    row = tx.execute(
        update(participants)
        .where(participants.c.id == person.id, participants.c.status == JOINED)
        .values(
            status=LEFT,
            left_at=tx.now,
            is_screen_sharing=False,
            is_hand_raised=False,
            hand_raised_at=None,
            presence=None,
            disconnected_at=None,
        )
        .returning(participants)
    ).one_or_none()
    if row is None:
        return person
    gone = Participant.of(row)
    if not gone.is_staff:
        tx.execute(
            update(meetings).where(meetings.c.id == gone.meeting_id).values(seats_taken=meetings.c.seats_taken - 1)
        )
    at = tx.emit(ParticipantLeft(meeting_id=gone.meeting_id, actor_id=gone.user_id, participant=gone, reason=reason))
    end_stays(tx, stays.c.participant_id == gone.id, at.seq if at else 0)
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


def seats_in_use(tx: Transaction, meeting_id: str) -> int:
    """Count the attendees inside; equals `meetings.seats_taken` (invariant I3)."""
    seated = (participants.c.meeting_id == meeting_id, participants.c.status == JOINED, participants.c.role == ATTENDEE)
    return int(tx.scalar(select(func.count()).select_from(participants).where(*seated)))
