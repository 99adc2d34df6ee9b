"""One's own flags over the WebSocket, and what is told about participants."""

from marshmallow import fields

from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.participants.events import (
    ConnectionStatusChanged,
    HandRaised,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantsUpdated,
    ParticipantUpdated,
    RoleChanged,
    ScreenShareChanged,
)
from shared.participants.flags import Flags, set_my_flags
from shared.participants.models import CONNECTED, RECONNECTING, STATUSES
from shared.participants.permissions import PARTICIPANTS_UPDATE_SELF
from web.http.schema import Bool, Choice, Id, Schema, Time
from web.participants.schemas import FlagsRequest, ParticipantView
from web.realtime.announcements import announces
from web.realtime.frame_types import frame


class HandFrame(Schema):
    """A hand up, or down."""

    is_hand_raised = Bool(required=True)


class ScreenFrame(Schema):
    """A screen shared, or no longer."""

    is_screen_sharing = Bool(required=True)


@frame("participant_update", FlagsRequest(), permission=PARTICIPANTS_UPDATE_SELF, limit="status")
def update(tx: Transaction, actor: Actor, meeting_id: str, **wanted: bool) -> Position:
    """Set microphone, camera, screen and hand flags."""
    return set_my_flags(tx, meeting_id, actor, Flags(**wanted)).update


@frame("hand_raise", HandFrame(), permission=PARTICIPANTS_UPDATE_SELF, limit="status")
def raise_hand(tx: Transaction, actor: Actor, meeting_id: str, is_hand_raised: bool) -> Position | None:
    """Raise or lower the hand."""
    return set_my_flags(tx, meeting_id, actor, Flags(is_hand_raised=is_hand_raised)).signal


@frame("screen_share", ScreenFrame(), permission=PARTICIPANTS_UPDATE_SELF, limit="status")
def share_screen(tx: Transaction, actor: Actor, meeting_id: str, is_screen_sharing: bool) -> Position | None:
    """Begin or stop to share a screen."""
    return set_my_flags(tx, meeting_id, actor, Flags(is_screen_sharing=is_screen_sharing)).signal


class PersonData(Schema):
    """Whom an event is about; `user_id` is null for guests."""

    participant_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    user_name = fields.String(required=True)


class ChangedData(Schema):
    """Who changed; of the rest there is what is different now, and nothing else."""

    participant_id = Id(required=True)
    is_muted = fields.Boolean()
    is_video_enabled = fields.Boolean()
    is_screen_sharing = fields.Boolean()
    is_hand_raised = fields.Boolean()
    hand_raised_at = Time(allow_none=True)
    can_publish = fields.Boolean()
    can_chat = fields.Boolean()


class ManyChangedData(Schema):
    """What a host did to many at once."""

    participants = fields.List(fields.Nested(ChangedData), required=True)


class OwnRoleData(ParticipantView):
    """You, with the role that you have now; `cursors` of streams that you hear from now on."""

    cursors = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class LeaveData(PersonData):
    """Who is out, since when, and why."""

    status = Choice(*STATUSES, required=True)
    left_at = Time(required=True, allow_none=True)
    reason = Choice("left", "connection_lost", "removed", "banned", "sent_back", required=True)


class HandData(PersonData):
    """A hand that went up or down."""

    is_hand_raised = fields.Boolean(required=True)
    hand_raised_at = Time(required=True, allow_none=True)


class ScreenData(PersonData):
    """A screen that is shared now, or no longer."""

    is_screen_sharing = fields.Boolean(required=True)


class ConnectionStatusData(PersonData):
    """Whether somebody inside can be reached."""

    status = Choice(CONNECTED, RECONNECTING, required=True)


announces(ParticipantView(), ParticipantJoined, ParticipantUpdated)
announces(ManyChangedData(), ParticipantsUpdated)
announces(OwnRoleData(), RoleChanged)
announces(LeaveData(), ParticipantLeft)
announces(HandData(), HandRaised)
announces(ScreenData(), ScreenShareChanged)
announces(ConnectionStatusData(), ConnectionStatusChanged)
