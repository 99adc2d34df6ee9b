"""Reactions and typing over the WebSocket: shown, not kept."""

from marshmallow import fields

from shared.participants.permissions import CHAT_SEND, REACTION_SEND
from shared.participants.standing import Standing
from shared.signals import service as signals
from shared.signals.events import Reacted, Typing
from shared.signals.service import REACTION_TYPES
from web.http.schema import Bool, Id, Schema
from web.realtime.announcements import announces
from web.realtime.frame_types import signal
from web.signals.schemas import ReactionRequest, ReactionView


class TypingFrame(Schema):
    """Typing, or no longer."""

    is_typing = Bool(required=True)


@signal(
    "reaction",
    ReactionRequest(),
    permission=REACTION_SEND,
    fits=lambda data: len(data) == 1 and data.get("reaction_type") in REACTION_TYPES,
)
def react(standing: Standing, reaction_type: str) -> Reacted:
    """Show a reaction."""
    return signals.react(standing, reaction_type)


@signal(
    "typing",
    TypingFrame(),
    permission=CHAT_SEND,
    fits=lambda data: len(data) == 1 and type(data.get("is_typing")) is bool,
)
def typing(standing: Standing, is_typing: bool) -> Typing:
    """Show that somebody types."""
    return signals.show_typing(standing, is_typing)


class TypingData(Schema):
    """Who types, or stopped."""

    participant_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    user_name = fields.String(required=True)
    is_typing = fields.Boolean(required=True)


announces(ReactionView(), Reacted)
announces(TypingData(), Typing)
