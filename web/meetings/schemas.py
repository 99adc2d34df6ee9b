"""What the doors of meetings take and give."""

from typing import Any
from zoneinfo import available_timezones

import marshmallow as ma
from marshmallow import fields, validate

from shared.meetings.models import STATUSES
from web.http.schema import Choice, Digits, Email, Id, Paging, Schema, Text, Time
from web.policies.schemas import PolicyRequest

_ZONES = frozenset(available_timezones())


class TimeZone(fields.String):
    """An IANA time zone, such as Europe/Paris."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        zone = str(super()._deserialize(value, attr, data, **kwargs))
        if zone not in _ZONES:
            raise ma.ValidationError("Not a time zone of the IANA database.")
        return zone


class MeetingRequest(Schema):
    """A new meeting."""

    title = Text(1, 200, required=True)
    description = Text(0, 5000, load_default="")
    scheduled_start = Time(allow_none=True, load_default=None)
    scheduled_end = Time(allow_none=True, load_default=None)
    time_zone = TimeZone(load_default="UTC")
    policy = fields.Nested(PolicyRequest, load_default=dict)
    template_id = Id(allow_none=True, load_default=None)
    series_of = Id(
        allow_none=True,
        load_default=None,
        metadata={"description": "A meeting that you host; the new one belongs to the same series."},
    )
    invitees = fields.List(Email(), load_default=list, validate=validate.Length(max=500))


class MeetingChange(Schema):
    """What shall be different; of a running meeting only title and description."""

    title = Text(1, 200)
    description = Text(0, 5000)
    scheduled_start = Time(allow_none=True)
    scheduled_end = Time(allow_none=True)
    time_zone = TimeZone()


class MeetingsQuery(Paging):
    """Which meetings."""

    status = Choice(*STATUSES)
    from_ = Time(data_key="from", metadata={"description": "Not before: its start, planned or real, or creation."})
    to = Time(metadata={"description": "Before: its start, planned or real, or creation."})


class HostView(Schema):
    """Who hosts."""

    user_id = Id(required=True)
    name = fields.String(required=True)


class MeetingView(Schema):
    """A meeting."""

    meeting_id = Id(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True)
    status = Choice(*STATUSES, required=True)
    host = fields.Nested(HostView, required=True)
    scheduled_start = Time(required=True, allow_none=True)
    scheduled_end = Time(required=True, allow_none=True)
    time_zone = fields.String(required=True)
    started_at = Time(required=True, allow_none=True)
    ended_at = Time(required=True, allow_none=True)
    join_url = fields.String(required=True)
    created_at = Time(required=True)


class StartedView(Schema):
    """Who let people in, and when."""

    meeting_id = Id(required=True)
    started_by = Id(required=True)
    started_at = Time(required=True)


class EndedView(Schema):
    """Who ended the meeting, when, and how long it was."""

    meeting_id = Id(required=True)
    ended_by = Id(required=True, allow_none=True)
    ended_at = Time(required=True)
    duration_minutes = fields.Float(required=True)


class StatusView(Schema):
    """How a meeting stands."""

    meeting_id = Id(required=True)
    status = Choice(*STATUSES, required=True)
    is_active = fields.Boolean(required=True)
    started_at = Time(required=True, allow_none=True)
    ended_at = Time(required=True, allow_none=True)
    attendance_count = fields.Integer(required=True)
    active_participants = fields.Integer(required=True)
    waiting_participants = fields.Integer(required=True)
    is_recording = fields.Boolean(required=True)
    is_locked = fields.Boolean(required=True)
    cursors = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class EventsQuery(Schema):
    """Which part of which stream."""

    stream = fields.String(load_default="meeting", validate=validate.Length(1, 64))
    after_seq = Digits(load_default=0, validate=validate.Range(0, 2**53 - 1))
    limit = Digits(load_default=50, validate=validate.Range(1, 200))


class EventView(Schema):
    """One event of the ledger, as it went over the WebSocket."""

    type = fields.String(required=True)
    meeting_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    data = fields.Dict(required=True)
    timestamp = Time(required=True)
    stream = fields.String(required=True)
    seq = fields.Integer(required=True)
