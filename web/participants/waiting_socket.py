"""What is told in and about the waiting room."""

from marshmallow import fields

from shared.participants.waiting_events import (
    Admitted,
    EntryDecided,
    EntryOverdue,
    EntryRequested,
    EntryWithdrawn,
    ExcludedWhileWaiting,
    QueueMoved,
    Refused,
    SentBack,
    WaiterAddressed,
    Withdrew,
)
from web.http.schema import Choice, Id, Schema, Time
from web.participants.schemas import ParticipantView
from web.participants.socket import PersonData
from web.realtime.announcements import announces


class WaitingData(PersonData):
    """For hosts: somebody in front of the door, or no longer; `position` and `waiting_since` while they wait, `overdue`
    once when nobody has answered for as long as the policy says."""

    action = Choice("waiting", "overdue", "withdrawn", "admitted", "denied", "removed", required=True)
    waiting_since = Time(allow_none=True)
    position = fields.Integer()


class WaiterData(Schema):
    """For who waits."""

    participant_id = Id(required=True)


class AdmittedData(WaiterData):
    """Come in: this socket hears the streams of `cursors` from there on."""

    action = Choice("admitted", required=True)
    participant = fields.Nested(ParticipantView, required=True)
    cursors = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class RefusedData(WaiterData):
    """You may not come in, or are removed."""

    action = Choice("denied", "removed", required=True)
    reason = fields.String(required=True, allow_none=True)


class WithdrewData(WaiterData):
    """You wait no more, as you wished."""

    action = Choice("withdrawn", required=True)


class PositionData(WaiterData):
    """Where you stand in the queue, 1 is next; `waiting` when a host has sent you there."""

    action = Choice("position", "waiting", required=True)
    position = fields.Integer(required=True)


class WaiterMessageData(WaiterData):
    """A host speaks to those who wait, or they are told that nobody has answered yet."""

    action = Choice("message", required=True)
    text = fields.String(required=True)


announces(WaitingData(), EntryRequested, EntryOverdue, EntryWithdrawn, EntryDecided)
announces(AdmittedData(), Admitted)
announces(RefusedData(), Refused, ExcludedWhileWaiting)
announces(WithdrewData(), Withdrew)
announces(PositionData(), QueueMoved, SentBack)
announces(WaiterMessageData(), WaiterAddressed)
