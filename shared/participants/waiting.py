"""The waiting room: a queue that hosts and co-hosts answer (contract 5). Every function locks the meeting row, so that
one person is admitted once, and nobody beyond the number of seats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from shared.core.errors import InsufficientPermission
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.queries import lock_meeting
from shared.meetings.service import check_running
from shared.participants import permissions
from shared.participants.entering import enter, full, take_seat
from shared.participants.errors import ParticipantNotFound
from shared.participants.leaving import take_out
from shared.participants.locking import lock_places
from shared.participants.membership import Membership, get_permitted
from shared.participants.models import DENIED, WAITING, Participant, participants
from shared.participants.moderation_events import PersonSentBack, WaitersAddressed, WaitersAdmitted, WaitersDenied
from shared.participants.permissions import Permission
from shared.participants.queries import get_participant
from shared.participants.queue import Waiter, next_turn, tell_positions, waiters
from shared.participants.waiting_events import (
    EntryDecided,
    EntryRequested,
    Refused,
    SentBack,
    WaiterAddressed,
)
from shared.policies.cache import get_policy
from shared.policies.errors import MaxParticipantsReached
from shared.policies.remedies import refusal


def queue(tx: Transaction, meeting_id: str, actor: Actor) -> list[Waiter]:
    """Return who waits, in the order in which they came. Raises MeetingNotFound, InsufficientPermission."""
    get_permitted(tx, meeting_id, actor, permissions.WAITING_ROOM_READ)
    return waiters(tx, meeting_id)


@dataclass(frozen=True, slots=True)
class Answered:
    """Who was admitted, and who waits on because no seat is free."""

    admitted: list[Participant]
    waiting: list[Participant]


def admit(tx: Transaction, meeting_id: str, actor: Actor, participant_ids: Sequence[str] | None) -> Answered:
    """Let people in, in the order of the queue, as long as there are seats; None for all who wait.

    Emits ParticipantJoined, Admitted and EntryDecided for each, QueueMoved for those who wait on, and WaitersAdmitted.
    Raises MeetingNotFound, InsufficientPermission, MeetingNotActive, MeetingEnded, InvalidMeetingState,
    ParticipantNotFound (somebody named does not wait), MaxParticipantsReached (nobody could be let in).
    """
    locked = _lock(tx, meeting_id, actor, permissions.WAITING_ROOM_ANSWER)
    meeting = locked.meeting
    chosen = _chosen(tx, meeting_id, participant_ids)
    policy = get_policy(tx, meeting)
    answered = Answered([], [])
    for person in chosen:
        try:
            if not person.is_staff:
                take_seat(tx, meeting, policy)
        except MaxParticipantsReached:
            answered.waiting.append(person)
            continue
        inside = enter(tx, person, policy, actor_id=actor.user_id, was_admitted=True)
        answered.admitted.append(inside)
    if answered.waiting and not answered.admitted:
        raise full(policy)
    _decided(tx, actor.user_id, answered.admitted, "admitted")
    tx.emit(WaitersAdmitted(meeting_id=meeting_id, by=locked.me, people=tuple(answered.admitted)))
    return answered


def deny(
    tx: Transaction, meeting_id: str, actor: Actor, participant_ids: Sequence[str], reason: str | None
) -> list[Participant]:
    """Turn people away, with a reason if there is one; they may ask again and are judged anew.

    Emits Refused and EntryDecided for each, QueueMoved for those who wait on, and WaitersDenied. Raises as `admit`.
    """
    me = _lock(tx, meeting_id, actor, permissions.WAITING_ROOM_ANSWER).me
    denied = turn_away(tx, _chosen(tx, meeting_id, participant_ids), reason, actor.user_id)
    tx.emit(WaitersDenied(meeting_id=meeting_id, by=me, people=tuple(denied), reason=reason))
    return denied


def turn_away(
    tx: Transaction, chosen: Sequence[Participant], reason: str | None, actor_id: str | None = None
) -> list[Participant]:
    """Deny people who wait; `actor_id` is None when the policy does. The caller holds the meeting row and their places.

    Emits Refused and EntryDecided for each, and QueueMoved for those who wait on.
    """
    rows = tx.all(
        update(participants)
        .where(participants.c.id.in_([person.id for person in chosen]))
        .values(status=DENIED, waiting_since=None, presence=None, disconnected_at=None)
        .returning(participants)
    )
    changed = {row.id: Participant.of(row) for row in rows}  # in whichever order the database came by them
    denied = [changed[person.id] for person in chosen]
    for person in denied:
        tx.emit(Refused(meeting_id=person.meeting_id, actor_id=actor_id, participant=person, reason=reason))
    _decided(tx, actor_id, denied, "denied")
    return denied


def address(tx: Transaction, meeting_id: str, actor: Actor, text: str) -> int:
    """Say something to everybody who waits. Returns to how many. Raises as `admit`.

    Emits WaiterAddressed for each, and WaitersAddressed.
    """
    me = _lock(tx, meeting_id, actor, permissions.WAITING_ROOM_ADDRESS).me
    addressed = waiters(tx, meeting_id)
    for waiter in sorted(addressed, key=lambda one: one.participant.id):
        person = waiter.participant
        tx.emit(WaiterAddressed(meeting_id=meeting_id, actor_id=actor.user_id, participant=person, text=text))
    tx.emit(WaitersAddressed(meeting_id=meeting_id, by=me, recipients=len(addressed)))
    return len(addressed)


def send_back(tx: Transaction, meeting_id: str, actor: Actor, participant_id: str) -> Waiter:
    """Send an attendee who is inside back to the waiting room, where only a host can let them out again.

    Emits ParticipantLeft, SentBack, EntryRequested, PersonSentBack. Raises as `admit`; InsufficientPermission for
    hosts and co-hosts, ParticipantNotFound when the person is not inside.
    """
    me = _lock(tx, meeting_id, actor, permissions.WAITING_ROOM_SEND_BACK).me
    person = get_participant(tx, meeting_id, participant_id)
    if not person.is_inside:
        raise ParticipantNotFound("This person is not in the meeting.")
    if person.is_staff:
        raise refusal(InsufficientPermission, "target_role", "Hosts and co-hosts do not wait.")
    person = take_out(
        tx,
        person,
        "sent_back",
        actor_id=actor.user_id,
        status=WAITING,
        left_at=tx.now,
        waiting_since=next_turn(tx, meeting_id),
        was_admitted=False,
        is_sent_back=True,
        presence=person.presence,  # the socket stays open
        disconnected_at=person.disconnected_at,
    )
    place = next(waiter for waiter in waiters(tx, meeting_id) if waiter.participant.id == person.id)
    told: dict[str, Any] = {
        "meeting_id": meeting_id,
        "actor_id": actor.user_id,
        "participant": person,
        "position": place.position,
    }
    tx.emit(SentBack(**told))
    tx.emit(EntryRequested(**told))
    tx.emit(PersonSentBack(meeting_id=meeting_id, by=me, target=person))
    return place


def _lock(tx: Transaction, meeting_id: str, actor: Actor, permission: Permission) -> Membership:
    get_permitted(tx, meeting_id, actor, permission)  # who has no business here holds up nobody
    meeting = lock_meeting(tx, meeting_id)
    me = get_permitted(tx, meeting_id, actor, permission).me
    check_running(meeting)
    return Membership(meeting, me)


def _chosen(tx: Transaction, meeting_id: str, participant_ids: Sequence[str] | None) -> list[Participant]:
    """Return those who wait and are meant, in the order of the queue, with their places locked.

    Raises ParticipantNotFound.
    """
    waiting = [waiter.participant for waiter in waiters(tx, meeting_id)]
    lock_places(tx, meeting_id, participants.c.status == WAITING)
    if participant_ids is None:
        return waiting
    wanted = set(participant_ids)
    chosen = [person for person in waiting if person.id in wanted]
    if len(chosen) != len(wanted):
        missing = sorted(wanted - {person.id for person in chosen})
        raise ParticipantNotFound("Somebody of these does not wait.", details={"participant_ids": missing})
    return chosen


def _decided(tx: Transaction, actor_id: str | None, people: Sequence[Participant], action: str) -> None:
    """Tell hosts what was decided, and those who wait on where they stand now."""
    if not people:
        return
    meeting_id = people[0].meeting_id
    tx.emit_all(
        [EntryDecided(meeting_id=meeting_id, actor_id=actor_id, participant=person, action=action) for person in people]
    )
    tell_positions(tx, meeting_id)
