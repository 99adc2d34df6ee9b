"""Reactions and typing over the WebSocket: shown, not kept."""

from marshmallow import fields

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.signals import service as signals
from shared.signals.events import Reacted, Typing
from web.http.schema import Bool, Id, Schema
from web.realtime.announcements import announces
from web.realtime.dispatch import frame
from web.signals.schemas import ReactionRequest, ReactionView


class TypingFrame(Schema):
    """Typing, or no longer."""

    is_typing = Bool(required=True)


@frame("reaction", ReactionRequest(), limit=None, is_kept=False)
def react(tx: Transaction, actor: Actor, meeting_id: str, reaction_type: str) -> None:
    """Show a reaction."""
    signals.react(tx, meeting_id, actor, reaction_type)


@frame("typing", TypingFrame(), limit=None, is_kept=False)
def typing(tx: Transaction, actor: Actor, meeting_id: str, is_typing: bool) -> None:
    """Show that somebody types."""
    signals.show_typing(tx, meeting_id, actor, is_typing)


class TypingData(Schema):
    """Who types, or stopped."""

    participant_id = Id(required=True)
    user_id = Id(required=True, allow_none=True)
    user_name = fields.String(required=True)
    is_typing = fields.Boolean(required=True)


announces(ReactionView(), Reacted)
announces(TypingData(), Typing)
