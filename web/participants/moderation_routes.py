"""Doors of hosts and co-hosts: the waiting room, and what is done to others (contract 4 and 5)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow as ma
from flask_smorest import Blueprint
from marshmallow import fields, validate

from shared.audit import kinds
from shared.core.errors import InsufficientPermission
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import moderation, permissions, waiting
from shared.participants.errors import ParticipantNotFound
from shared.participants.queue import Waiter
from shared.policies.errors import MaxParticipantsReached
from web.http.door import door
from web.http.pagination import cut, decode_cursor, encode_cursor, number_in, pagination
from web.http.reply import Reply
from web.http.schema import Bool, Id, Paging, Schema, Text, Time
from web.participants.schemas import ParticipantChange, ParticipantView, RemoveRequest

blueprint = Blueprint(
    "moderation", __name__, url_prefix="/api/v1/meetings/<meeting_id>", description="What hosts do: admit, mute, remove"
)

_MODERATING = (
    MeetingNotFound,
    InsufficientPermission,
    MeetingNotActive,
    MeetingEnded,
    InvalidMeetingState,
    ParticipantNotFound,
)


class WaiterView(Schema):
    """Somebody who waits; `position` 1 is next."""

    participant_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    user_name = fields.String(required=True)
    waiting_since = Time(required=True)
    position = fields.Integer(required=True)


class AdmitRequest(Schema):
    """Whom to let in: some, or all."""

    participant_ids = fields.List(Id(), validate=validate.Length(1, 1000))
    all = Bool()

    @ma.validates_schema
    def one_of_both(self, data: dict[str, Any], **_: object) -> None:
        """Take either names or all."""
        if ("participant_ids" in data) == bool(data.get("all")):
            raise ma.ValidationError("Give either participant_ids, or all: true.")


class AdmittedView(Schema):
    """Who is inside now, and who waits on because no seat is free."""

    admitted = fields.List(fields.Nested(ParticipantView), required=True)
    waiting = fields.List(fields.Nested(ParticipantView), required=True)


class DenyRequest(Schema):
    """Whom to turn away, and why."""

    participant_ids = fields.List(Id(), required=True, validate=validate.Length(1, 1000))
    reason = Text(1, 500, allow_none=True, load_default=None)


class DeniedView(Schema):
    """Who was turned away."""

    denied = fields.List(fields.Nested(ParticipantView), required=True)


class WaiterMessageRequest(Schema):
    """What to say to those who wait."""

    text = Text(1, 1000, required=True)


class AddressedView(Schema):
    """How many it was said to."""

    recipients = fields.Integer(required=True)


@door(
    blueprint,
    "GET",
    "/waiting-room",
    permission=permissions.WAITING_ROOM_READ,
    query=Paging(),
    gives=WaiterView(),
    many=True,
    refusals=(MeetingNotFound, InsufficientPermission),
)
def list_waiters(tx: Transaction, actor: Actor, meeting_id: str, limit: int, cursor: str | None) -> Reply:
    """List who waits, in the order in which they came"""
    after = _turn_in(cursor) if cursor else (0, "")
    behind = [waiter for waiter in waiting.queue(tx, meeting_id, actor) if _turn(waiter) > after]
    page, more = cut(behind, limit)
    following = encode_cursor(*map(str, _turn(page[-1]))) if more else None
    return Reply([_shown(waiter) for waiter in page], pagination=pagination(limit, following))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _turn(waiter: Waiter) -> tuple[int, str]:
    """Return what puts somebody in order: since when, in microseconds, and the id."""
    since = waiter.participant.waiting_since or _EPOCH
    return (since - _EPOCH) // timedelta(microseconds=1), waiter.participant.id


def _turn_in(cursor: str) -> tuple[int, str]:
    since, id_ = decode_cursor(cursor, 2)
    return number_in(since), id_


@door(
    blueprint,
    "POST",
    "/waiting-room/admit",
    permission=permissions.WAITING_ROOM_ANSWER,
    takes=AdmitRequest(),
    gives=AdmittedView(),
    act=kinds.ADMIT,
    message="Come in.",
    refusals=(*_MODERATING, MaxParticipantsReached),
)
def admit(
    tx: Transaction, actor: Actor, meeting_id: str, participant_ids: list[str] | None = None, **_: bool
) -> dict[str, Any]:
    """Admit people from the waiting room

    In the order of the queue, as long as there are seats; who finds none waits on.
    """
    answered = waiting.admit(tx, meeting_id, actor, participant_ids)
    return {
        "admitted": [person.public() for person in answered.admitted],
        "waiting": [person.public() for person in answered.waiting],
    }


@door(
    blueprint,
    "POST",
    "/waiting-room/deny",
    permission=permissions.WAITING_ROOM_ANSWER,
    takes=DenyRequest(),
    gives=DeniedView(),
    act=kinds.DENY,
    message="Turned away.",
    refusals=_MODERATING,
)
def deny(
    tx: Transaction, actor: Actor, meeting_id: str, participant_ids: list[str], reason: str | None
) -> dict[str, Any]:
    """Turn people away

    They may ask again, and are judged anew.
    """
    return {"denied": [p.public() for p in waiting.deny(tx, meeting_id, actor, participant_ids, reason)]}


@door(
    blueprint,
    "POST",
    "/waiting-room/message",
    permission=permissions.WAITING_ROOM_ADDRESS,
    takes=WaiterMessageRequest(),
    gives=AddressedView(),
    message="Said.",
    refusals=_MODERATING,
)
def address_waiters(tx: Transaction, actor: Actor, meeting_id: str, text: str) -> dict[str, int]:
    """Say something to everybody who waits"""
    return {"recipients": waiting.address(tx, meeting_id, actor, text)}


@door(
    blueprint,
    "POST",
    "/participants/<participant_id>/send-to-waiting-room",
    permission=permissions.WAITING_ROOM_SEND_BACK,
    gives=WaiterView(),
    message="Sent back.",
    refusals=_MODERATING,
)
def send_back(tx: Transaction, actor: Actor, meeting_id: str, participant_id: str) -> dict[str, Any]:
    """Send an attendee back to the waiting room

    Whatever the policy says, only a host or co-host lets them out again.
    """
    return _shown(waiting.send_back(tx, meeting_id, actor, participant_id))


@door(
    blueprint,
    "PATCH",
    "/participants/<participant_id>",
    permission=permissions.PARTICIPANTS_MODERATE,
    takes=ParticipantChange(),
    gives=ParticipantView(),
    message="Changed.",
    refusals=(*_MODERATING, MaxParticipantsReached),
)
def change_participant(
    tx: Transaction, actor: Actor, meeting_id: str, participant_id: str, **changes: Any
) -> dict[str, Any]:
    """Change somebody's role, flags and rights

    Hosts and co-hosts may mute, stop a camera or screen, lower a hand, and take away the voice (`can_publish`) or the
    chat (`can_chat`); they cannot switch somebody else's microphone or camera on. Only the host changes roles, and
    there is always a host.
    """
    return moderation.change(tx, meeting_id, actor, participant_id, changes).public()


@door(
    blueprint,
    "POST",
    "/participants/<participant_id>/remove",
    permission=permissions.PARTICIPANTS_REMOVE,
    takes=RemoveRequest(),
    gives=ParticipantView(),
    message="Removed.",
    refusals=_MODERATING,
)
def remove_participant(
    tx: Transaction, actor: Actor, meeting_id: str, participant_id: str, ban: bool, reason: str | None
) -> dict[str, Any]:
    """Put somebody out

    Their sockets close with 4503, and the media server sends them out. With `ban` no door lets that person in again.
    """
    return moderation.remove(tx, meeting_id, actor, participant_id, ban=ban, reason=reason).public()


def _shown(waiter: Waiter) -> dict[str, Any]:
    person = waiter.participant
    return {
        "participant_id": person.id,
        "user_id": person.user_id,
        "user_name": person.user_name,
        "waiting_since": person.waiting_since,
        "position": waiter.position,
    }
