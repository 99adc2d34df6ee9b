"""Seats, and what begins when somebody is inside (contract 4). Who gets one is decided elsewhere."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update

from shared.core import ledger
from shared.core.errors import DomainError
from shared.core.ids import new_id
from shared.core.lists import how_often
from shared.core.rows import insert_rows
from shared.core.streams import hosts_stream
from shared.core.transaction import Transaction
from shared.meetings.models import Meeting, meetings
from shared.participants.events import ParticipantJoined, RoleChanged
from shared.participants.models import ATTENDEE, JOINED, WAITING, Participant, participants, stays
from shared.participants.waiting_events import Admitted
from shared.policies.errors import MaxParticipantsReached
from shared.policies.models import Policy, policies
from shared.policies.remedies import refusal


def full(policy: Policy) -> DomainError:
    """Return the refusal that says: no seat is free."""
    return refusal(MaxParticipantsReached, "max_participants", max_participants=policy.max_participants)


_TAKE_SEAT = (
    update(meetings)
    .where(meetings.c.id == bindparam("meeting_id"), meetings.c.seats_taken < bindparam("seats"))
    .values(seats_taken=meetings.c.seats_taken + 1)
)


_TAKEN = how_often("wanted")
_TAKE_SEATS = (
    update(meetings)
    .where(
        meetings.c.id == _TAKEN.c.item,
        policies.c.meeting_id == meetings.c.id,
        meetings.c.seats_taken + _TAKEN.c.times <= policies.c.max_participants,
    )
    .values(seats_taken=meetings.c.seats_taken + _TAKEN.c.times)
)


def take_seats(tx: Transaction, meeting_ids: Sequence[str]) -> bool:
    """Take a seat in each of these meetings, in one that is named twice two. False when one has not as many."""
    taken = tx.execute(_TAKE_SEATS, {"wanted": meeting_ids})
    return bool(taken.rowcount == len(set(meeting_ids)))


def take_seat(tx: Transaction, meeting: Meeting, policy: Policy) -> None:
    """Take a seat for an attendee. Raises MaxParticipantsReached."""
    taken = tx.execute(_TAKE_SEAT, {"meeting_id": meeting.id, "seats": policy.max_participants})
    if taken.rowcount == 0:
        raise full(policy)


def enter(
    tx: Transaction,
    person: Participant,
    policy: Policy,
    *,
    actor_id: str | None = None,
    is_new: bool = False,
    **values: Any,
) -> Participant:
    """Let somebody in who has a seat, or needs none; `values` are how they enter, `actor_id` is who lets them.
    `is_new` says that their place is not stored yet.

    Emits ParticipantJoined; for who waited until now also Admitted, from which open sockets go on, and for hosts and
    co-hosts RoleChanged. The caller holds the meeting row.
    """
    was_waiting = person.status == WAITING
    person = write_place(tx, person, is_new=is_new, **_inside(person, policy, tx.now, values))
    (seq,) = _tell_and_begin(tx, [person])
    if was_waiting:
        _call_in(tx, person, seq, actor_id or person.user_id)
    return person


@dataclass(frozen=True, slots=True)
class Entrant:
    """Somebody who has a seat, or needs none, and has not waited; `values` are how they enter."""

    person: Participant
    policy: Policy
    values: Mapping[str, Any]


def enter_all(tx: Transaction, entrants: Sequence[Entrant]) -> list[Participant]:
    """Let several in at once, in any meetings, whether their places are stored already or not.

    Emits ParticipantJoined for each, in this order. The caller holds the meetings' rows and the stored places.
    Raises IntegrityError when a place was made meanwhile that takes one of them for new.
    """
    inside = [replace(one.person, **_inside(one.person, one.policy, tx.now, one.values)) for one in entrants]
    rows = [{name: getattr(person, name) for name in Participant.__slots__} for person in inside]
    insert_rows(tx.connection, participants, rows, _put)
    _tell_and_begin(tx, inside)
    return inside


def _put(new: Any) -> Any:
    """Let an INSERT of places overwrite those that are stored already."""
    return new.on_conflict_do_update(
        index_elements=["id"], set_={name: new.excluded[name] for name in Participant.__slots__ if name != "id"}
    )


def _inside(person: Participant, policy: Policy, now: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written of somebody who enters."""
    wished = {"is_muted": person.is_muted, "is_video_enabled": person.is_video_enabled, **values}
    return {
        **wished,
        "is_muted": wished["is_muted"] or policy.mute_on_entry or not person.can_publish,
        "is_video_enabled": wished["is_video_enabled"] and not policy.disable_camera and person.can_publish,
        "status": JOINED,
        "is_sent_back": False,
        "is_screen_sharing": False,
        "is_hand_raised": False,
        "hand_raised_at": None,
        "joined_at": now,
        "left_at": None,
        "waiting_since": None,
        "media_identity": secrets.token_urlsafe(16),
    }


def _tell_and_begin(tx: Transaction, people: Sequence[Participant]) -> list[int]:
    """Say that people are inside, and begin their stays; return the numbers of the events."""
    joined = [ParticipantJoined(meeting_id=one.meeting_id, actor_id=one.user_id, participant=one) for one in people]
    numbers = [at.seq for at in tx.emit_all(joined)]
    begun = [
        {
            "id": new_id(),
            "participant_id": person.id,
            "meeting_id": person.meeting_id,
            "entered_at": tx.now,
            "entered_seq": seq,
            "media_identity": person.media_identity,
        }
        for person, seq in zip(people, numbers, strict=True)
    ]
    tx.insert_later(stays, begun)
    return numbers


def _call_in(tx: Transaction, person: Participant, seq: int, actor_id: str | None) -> None:
    """Tell somebody who waited, on a stream of their own, from where open sockets go on."""
    told: dict[str, Any] = {"meeting_id": person.meeting_id, "actor_id": actor_id, "participant": person}
    tx.emit(Admitted(**told, cursors={"meeting": seq}))
    if person.is_staff:
        hosts = hosts_stream(person.meeting_id)
        tx.emit(RoleChanged(**told, cursors={"hosts": ledger.heads(tx.connection, [hosts])[hosts]}))


_CHANGE = update(participants).where(participants.c.id == bindparam("whose")).returning(participants)


def change_place(tx: Transaction, person: Participant, **values: Any) -> Participant:
    """Write what is different about somebody; return them afterwards."""
    return Participant.of(tx.execute(_CHANGE, {"whose": person.id, **values}).one())


_NEW_PLACE = participants.insert()


def insert_place(tx: Transaction, place: Participant) -> Participant:
    """Store a new place; return it."""
    tx.execute(_NEW_PLACE, {name: getattr(place, name) for name in Participant.__slots__})
    return place


def write_place(tx: Transaction, person: Participant, *, is_new: bool, **values: Any) -> Participant:
    """Write what is different about somebody, or the whole place where none is stored yet; return them afterwards."""
    return insert_place(tx, replace(person, **values)) if is_new else change_place(tx, person, **values)


def seats_in_use(tx: Transaction, meeting_id: str) -> int:
    """Count the attendees inside; equals `meetings.seats_taken` (invariant I3)."""
    seated = (participants.c.meeting_id == meeting_id, participants.c.status == JOINED, participants.c.role == ATTENDEE)
    return int(tx.scalar(select(func.count()).select_from(participants).where(*seated)))
