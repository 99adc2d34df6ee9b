"""Doors for what is done to many at once (contract 4): answered with a job."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from shared.core.errors import InsufficientPermission
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import batch, permissions
from shared.participants.models import ROLES, STATUSES
from web.http.door import door
from web.http.schema import Bool, Choice, Id, Schema
from web.jobs.schemas import JobView
from web.participants.moderation_routes import blueprint
from web.participants.schemas import FlagsRequest

MOST = 10_000
_REFUSALS = (MeetingNotFound, InsufficientPermission, MeetingNotActive, MeetingEnded, InvalidMeetingState)


class FlagsAndRights(FlagsRequest):
    """What shall be different: flags can be taken down, not put up."""

    can_publish = Bool()
    can_chat = Bool()


class ParticipantUpdate(Schema):
    """What shall be different about one person."""

    participant_id = Id(required=True)
    is_muted = Bool()
    is_video_enabled = Bool()
    is_screen_sharing = Bool()
    is_hand_raised = Bool()
    can_publish = Bool()
    can_chat = Bool()

    @ma.validates_schema
    def something_is_given(self, data: dict[str, Any], **_: object) -> None:
        """Refuse an item that changes nothing."""
        if data.keys() <= {"participant_id"}:
            raise ma.ValidationError("Give at least one flag.")


class ParticipantFilter(Schema):
    """Who is meant: everybody inside, or those of them with a role."""

    role = Choice(*ROLES)
    status = Choice(*STATUSES)


class BatchRequest(Schema):
    """Either `updates`, person by person, or `filter` and `set`."""

    updates = fields.List(fields.Nested(ParticipantUpdate), validate=validate.Length(1, MOST))
    filter = fields.Nested(ParticipantFilter)
    set = fields.Nested(FlagsAndRights)

    @ma.validates_schema
    def one_of_both(self, data: dict[str, Any], **_: object) -> None:
        """Take either updates or a filter with what to set; and nobody twice."""
        if ("updates" in data) == ("filter" in data) or ("filter" in data) != ("set" in data):
            raise ma.ValidationError("Give either updates, or filter and set.")
        ids = [each["participant_id"] for each in data.get("updates", ())]
        if len(set(ids)) < len(ids):
            raise ma.ValidationError("Name each participant once.", "updates")


@door(
    blueprint,
    "POST",
    "/participants/batch",
    permission=permissions.PARTICIPANTS_MODERATE,
    takes=BatchRequest(),
    gives=JobView(),
    status=202,
    message="Accepted.",
    refusals=_REFUSALS,
)
def update_participants(
    tx: Transaction,
    actor: Actor,
    meeting_id: str,
    updates: list[dict[str, Any]] | None = None,
    filter: dict[str, str] | None = None,
    set: dict[str, bool] | None = None,
) -> dict[str, Any]:
    """Change many participants

    Answered at once with a job, which a worker does in chunks; each chunk is one `participant_update` event whose
    `participants` say who changed and how. Who cannot be changed is named in the job's result; the others are.
    """
    if updates is not None:
        return batch.update_each(tx, meeting_id, actor, updates).public()
    return batch.update_all(tx, meeting_id, actor, filter or {}, set or {}).public()


@door(
    blueprint,
    "POST",
    "/mute-all",
    permission=permissions.PARTICIPANTS_MODERATE,
    gives=JobView(),
    status=202,
    message="Accepted.",
    refusals=_REFUSALS,
)
def mute_all(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Mute everybody but yourself

    Hosts are left out when a co-host asks.
    """
    return batch.mute_all(tx, meeting_id, actor).public()


@door(
    blueprint,
    "POST",
    "/lower-hands",
    permission=permissions.PARTICIPANTS_MODERATE,
    gives=JobView(),
    status=202,
    message="Accepted.",
    refusals=_REFUSALS,
)
def lower_hands(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Lower every raised hand"""
    return batch.lower_hands(tx, meeting_id, actor).public()
