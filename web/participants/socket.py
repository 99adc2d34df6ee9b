"""One's own flags over the WebSocket."""

from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.participants.flags import Flags, set_my_flags
from web.http.schema import Bool, Schema
from web.participants.schemas import FlagsRequest
from web.realtime.dispatch import frame


class HandFrame(Schema):
    """A hand up, or down."""

    is_hand_raised = Bool(required=True)


class ScreenFrame(Schema):
    """A screen shared, or no longer."""

    is_screen_sharing = Bool(required=True)


@frame("participant_update", FlagsRequest(), limit="status", is_kept=True)
def update(tx: Transaction, actor: Actor, meeting_id: str, **wanted: bool) -> Position:
    """Set microphone, camera, screen and hand flags."""
    return set_my_flags(tx, meeting_id, actor, Flags(**wanted)).update


@frame("hand_raise", HandFrame(), limit="status", is_kept=True)
def raise_hand(tx: Transaction, actor: Actor, meeting_id: str, is_hand_raised: bool) -> Position | None:
    """Raise or lower the hand."""
    return set_my_flags(tx, meeting_id, actor, Flags(is_hand_raised=is_hand_raised)).signal


@frame("screen_share", ScreenFrame(), limit="status", is_kept=True)
def share_screen(tx: Transaction, actor: Actor, meeting_id: str, is_screen_sharing: bool) -> Position | None:
    """Begin or stop to share a screen."""
    return set_my_flags(tx, meeting_id, actor, Flags(is_screen_sharing=is_screen_sharing)).signal
