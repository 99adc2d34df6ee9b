"""What is told about a meeting as a whole."""

from marshmallow import fields

from shared.meetings.events import MeetingCancelled, MeetingChanged, MeetingFinished, MeetingStarted
from shared.meetings.models import STATUSES
from shared.participants.waiting_events import WaitedInVain
from web.http.schema import Choice, Schema, Time
from web.realtime.announcements import announces


class MeetingStatusData(Schema):
    """The state of the meeting from here on; after `ended` the socket is closed with 4510."""

    action = Choice("updated", "started", "cancelled", "ended", required=True)
    status = Choice(*STATUSES, required=True)
    title = fields.String(required=True)
    description = fields.String(required=True)
    time_zone = fields.String(required=True)
    scheduled_start = Time(required=True, allow_none=True)
    scheduled_end = Time(required=True, allow_none=True)
    started_at = Time(required=True, allow_none=True)
    ended_at = Time(required=True, allow_none=True)


announces(MeetingStatusData(), MeetingChanged, MeetingStarted, MeetingCancelled, MeetingFinished, WaitedInVain)
