"""What the doors of participants take and give."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate, validates

from shared.identity.names import clean_name
from shared.participants.models import ROLES, STATUSES
from web.http.schema import Bool, Choice, Id, Paging, Schema, Text, Time
from web.meetings.schemas import MeetingView

MOST_UPDATES = 10_000  # of one batch (S120)


class JoinRequest(Schema):
    """How you want to enter."""

    device_type = Text(1, 40, allow_none=True)
    connection_id = Text(1, 64, allow_none=True)
    join_muted = Bool()
    join_without_video = Bool()
    passcode = Text(1, 64, strip=False, load_only=True, allow_none=True)
    display_name = Text(1, 100, allow_none=True)

    @validates("display_name")
    def name_is_visible(self, value: str | None, **_: object) -> None:
        """Refuse a name of nothing but invisible characters."""
        if value is not None and not clean_name(value):
            raise ma.ValidationError("Say what others should call you.")


class JoinView(Schema):
    """Your seat, or your place in the waiting room (`status: waiting`, `position`)."""

    participant_id = Id(required=True)
    meeting_id = Id()
    user_id = Id(allow_none=True)
    user_name = fields.String()
    role = Choice(*ROLES)
    status = Choice(*STATUSES, required=True)
    is_muted = fields.Boolean()
    is_video_enabled = fields.Boolean()
    joined_at = Time(allow_none=True)
    position = fields.Integer()
    guest_token = fields.String()


class LeaveView(Schema):
    """When you left, and how many minutes all your stays lasted."""

    meeting_id = Id(required=True)
    left_at = Time(required=True)
    duration_minutes = fields.Float(required=True)


class ParticipantsQuery(Paging):
    """Which participants; several states are separated by commas."""

    status = fields.String(validate=validate.Length(1, 100))


class ParticipantView(Schema):
    """A participant as others see them."""

    participant_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    user_name = fields.String(required=True)
    role = Choice(*ROLES, required=True)
    status = Choice(*STATUSES, required=True)
    is_muted = fields.Boolean(required=True)
    is_video_enabled = fields.Boolean(required=True)
    is_screen_sharing = fields.Boolean(required=True)
    is_hand_raised = fields.Boolean(required=True)
    hand_raised_at = Time(required=True, allow_none=True)
    can_publish = fields.Boolean(required=True)
    can_chat = fields.Boolean(required=True)
    joined_at = Time(required=True, allow_none=True)
    left_at = Time(required=True, allow_none=True)
    device_type = fields.String(required=True, allow_none=True)
    breakout_room_id = Id(required=True, allow_none=True)


class FlagsRequest(Schema):
    """Your own flags; at least one."""

    is_muted = Bool()
    is_video_enabled = Bool()
    is_screen_sharing = Bool()
    is_hand_raised = Bool()

    @ma.validates_schema
    def something_is_given(self, data: dict[str, bool], **_: object) -> None:
        """Refuse a request that changes nothing."""
        if not data:
            raise ma.ValidationError("Give at least one flag.")


class FlagsAndRights(FlagsRequest):
    """What shall be different: flags can be taken down, not put up."""

    can_publish = Bool()
    can_chat = Bool()


class ParticipantChange(FlagsAndRights):
    """What shall be different about somebody: flags can be taken down, not put up."""

    role = Choice(*ROLES)


class ParticipantUpdate(FlagsAndRights):
    """What shall be different about one person."""

    # No longer, and no other characters: five hundred of them are told in one frame of 64 KiB.
    participant_id = fields.String(required=True, validate=validate.Regexp(r"[0-9A-Za-z_-]{1,36}\Z"))

    @ma.validates_schema
    def something_is_given(self, data: dict[str, bool], **_: object) -> None:
        """Refuse an item that changes nothing."""
        if data.keys() <= {"participant_id"}:
            raise ma.ValidationError("Give at least one flag.")


class ParticipantFilter(Schema):
    """Who is meant: everybody inside, or those of them with a role."""

    role = Choice(*ROLES)
    status = Choice(*STATUSES)


class BatchRequest(Schema):
    """Either `updates`, person by person, or `filter` and `set`."""

    updates = fields.List(fields.Nested(ParticipantUpdate), validate=validate.Length(1, MOST_UPDATES))
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


class RemoveRequest(Schema):
    """How somebody goes: with `ban` no door lets them in again."""

    ban = Bool(load_default=False)
    reason = Text(1, 500, allow_none=True, load_default=None)


class TicketView(Schema):
    """A ticket for one WebSocket handshake, within `expires_in` seconds."""

    ticket = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class SnapshotView(Schema):
    """All that a client needs."""

    meeting = fields.Nested(MeetingView, required=True)
    me = fields.Nested(ParticipantView, required=True)
    participants = fields.List(fields.Nested(ParticipantView), required=True)
    policy = fields.Dict(required=True)
    breakout_rooms = fields.List(fields.Dict(), required=True)
    polls = fields.List(fields.Dict(), required=True)
    cursors = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    epoch = fields.String(required=True)
