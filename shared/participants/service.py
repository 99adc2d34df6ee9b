"""Asking for entry to a meeting (contract 4)."""

from dataclasses import dataclass, replace
from typing import Any

from shared.core.errors import ValidationFailed
from shared.core.ids import new_id
from shared.core.keyring import Keyring
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.meetings.models import Meeting
from shared.meetings.queries import get_meeting, lock_meeting
from shared.meetings.service import check_running
from shared.participants import attempts, calling
from shared.participants.entering import enter, full, insert_place, take_seat, write_place
from shared.participants.membership import find_place
from shared.participants.models import (
    ATTENDEE,
    DENIED,
    REMOVED,
    WAITING,
    Participant,
)
from shared.participants.moderation_events import GuestAccredited
from shared.participants.queries import waiting_position
from shared.participants.queue import next_turn, tell_positions
from shared.participants.waiting_events import EntryDecided, EntryRequested
from shared.policies.admission import Applicant, Verdict, decide
from shared.policies.cache import get_policy
from shared.policies.errors import PasscodeInvalid, PasscodeRequired
from shared.policies.models import Policy
from shared.policies.remedies import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWish:
    """How somebody wants to enter. `display_name` is what others read; guests must give one.

    `address` is not wished but found out: wrong passcodes are counted by it.
    """

    device_type: str | None = None
    join_muted: bool = False
    join_without_video: bool = False
    passcode: str | None = None
    display_name: str | None = None
    address: str = ""


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
    Emits ParticipantJoined or EntryRequested, and for a new guest GuestAccredited. Raises, in the contract's order:
    MeetingNotFound, MeetingEnded, MeetingNotActive, InvalidMeetingState, UserBlocked, AnonymousNotAllowed,
    DomainNotAllowed, PasscodeRequired, PasscodeInvalid or, when there were too many wrong ones, RateLimitExceeded,
    MeetingLocked, MaxParticipantsReached.
    """
    if actor is not None and actor.is_guest and actor.meeting_id != meeting_id:
        raise MeetingNotFound  # a guest's token is for one meeting (contract 2), here as at every other door
    seen = get_meeting(tx, meeting_id)
    if wish.passcode is not None:
        _try_passcode(tx, seen, actor, wish)
    if _is_full(seen, get_policy(tx, seen)):
        judge(tx, seen, actor, wish)  # who must be refused is, without waiting for the row with all the others
    meeting = lock_meeting(tx, meeting_id)
    policy, place, verdict = judge(tx, meeting, actor, wish)
    if place is not None and verdict is None:
        return Admission(place)
    called = calling.name_for(tx, meeting, actor, place, wish.display_name)
    person = place or new_place(tx, meeting, actor, called)
    is_new_guest = place is None and person.user_id is None
    if is_new_guest:
        tx.emit(GuestAccredited(guest=person))
    if verdict is not None and verdict.action == "wait":
        return _queue(tx, person, wish, called, is_new=place is None)
    if not person.is_staff:
        take_seat(tx, meeting, policy)
    entered = enter(tx, person, policy, is_new=place is None, **as_wished(person, wish, called))
    if person.status == WAITING:  # the rules have changed since
        tx.emit(EntryDecided(meeting_id=meeting_id, actor_id=entered.user_id, participant=entered, action="admitted"))
        tell_positions(tx, meeting_id)
    return Admission(entered, is_new_guest=is_new_guest)


def as_wished(person: Participant, wish: JoinWish, called: str) -> dict[str, Any]:
    """Return how somebody enters who is called so, or as before when that is empty."""
    is_waiting = person.status == WAITING  # a waiter's socket stays open
    return {
        "user_name": called or person.user_name,
        "is_muted": wish.join_muted,
        "is_video_enabled": not wish.join_without_video,
        "device_type": wish.device_type,
        "presence": person.presence if is_waiting else None,
        "disconnected_at": person.disconnected_at if is_waiting else None,
    }


def _try_passcode(tx: Transaction, meeting: Meeting, actor: Actor | None, wish: JoinWish) -> None:
    """Look at a passcode that will decide, unless there were too many wrong ones; who is wrong is counted."""
    try:
        judge(tx, meeting, actor, replace(wish, passcode=None))
    except PasscodeRequired:
        client = actor.key if actor else tx.keyring.digest("client", wish.address)
        has_place = actor is not None and find_place(tx, meeting.id, actor) is not None
        address = None if has_place else tx.keyring.digest("address", wish.address)
        tried = attempts.claim(tx, meeting.id, client, address)
        try:
            judge(tx, meeting, actor, wish)
        except PasscodeInvalid:
            attempts.count_failure(tx, tried)
            raise


def judge(
    tx: Transaction, meeting: Meeting, actor: Actor | None, wish: JoinWish
) -> tuple[Policy, Participant | None, Verdict | None]:
    """Return the policy, the actor's place, and the verdict: None for who is inside. Raises as `join`, changes
    nothing."""
    check_running(meeting)
    policy = get_policy(tx, meeting)
    place = None if actor is None else find_place(tx, meeting.id, actor)
    return policy, place, pass_verdict(tx.keyring, meeting, policy, place, actor, wish)


def pass_verdict(
    keyring: Keyring, meeting: Meeting, policy: Policy, place: Participant | None, actor: Actor | None, wish: JoinWish
) -> Verdict | None:
    """Return the verdict on somebody whose place is known, or that there is none: None for who is inside. Raises what
    keeps them out of a running meeting, as `join`."""
    if place is not None and place.is_inside:
        return None
    verdict = decide(policy, _applicant(actor, place, wish), keyring)
    if verdict.refusal is not None:
        raise refusal(verdict.refusal, verdict.rule)
    if (place is None or not place.is_staff) and _is_full(meeting, policy):
        raise full(policy)
    return verdict


def _is_full(meeting: Meeting, policy: Policy) -> bool:
    return meeting.seats_taken >= policy.max_participants


def _applicant(actor: Actor | None, place: Participant | None, wish: JoinWish) -> Applicant:
    return Applicant(
        user_id=actor.user_id if actor else None,
        email=actor.email if actor else None,
        is_staff=place is not None and place.is_staff,
        is_banned=place is not None and place.is_banned,
        was_admitted=place is not None and place.was_admitted and place.status not in (REMOVED, DENIED),
        is_sent_back=place is not None and place.is_sent_back,
        passcode=wish.passcode,
    )


def new_place(tx: Transaction, meeting: Meeting, actor: Actor | None, called: str) -> Participant:
    """Return a place that is not stored yet: it is written once, as the person gets it."""
    name = called or (actor.name if actor else "")
    if not name:
        raise ValidationFailed(details={"display_name": ["Say what others should call you."]})
    return Participant.invited(new_id(), meeting.id, actor.user_id if actor else None, name, ATTENDEE, tx.now)


def add_place(tx: Transaction, meeting_id: str, user_id: str | None, name: str, role: str) -> Participant:
    """Insert somebody's place in a meeting, in the state invited."""
    return insert_place(tx, Participant.invited(new_id(), meeting_id, user_id, name, role, tx.now))


def _queue(tx: Transaction, person: Participant, wish: JoinWish, called: str, *, is_new: bool) -> Admission:
    if person.status == WAITING and person.waiting_since is not None:
        return Admission(person, waiting_position(tx, person.meeting_id, person.waiting_since, person.id))
    person = write_place(
        tx,
        person,
        is_new=is_new,
        status=WAITING,
        user_name=called or person.user_name,
        is_muted=wish.join_muted,
        is_video_enabled=not wish.join_without_video,
        device_type=wish.device_type,
        waiting_since=next_turn(tx, person.meeting_id),
        presence=None,
        disconnected_at=None,
    )
    position = waiting_position(tx, person.meeting_id, person.waiting_since or tx.now, person.id)
    tx.emit(
        EntryRequested(meeting_id=person.meeting_id, actor_id=person.user_id, participant=person, position=position)
    )
    return Admission(person, position, is_new and person.user_id is None)
