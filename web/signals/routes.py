"""Doors of signals (contract 7)."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import permissions
from shared.participants.errors import NotInside
from shared.participants.standing import get_standing
from shared.policies.errors import ReactionsDisabled
from shared.signals import service as signals
from web.http.door import door
from web.signals.schemas import ReactionRequest, ReactionView

blueprint = Blueprint(
    "signals", __name__, url_prefix="/api/v1/meetings/<meeting_id>", description="Reactions, which nobody keeps"
)


@door(
    blueprint,
    "POST",
    "/reactions",
    permission=permissions.REACTION_SEND,
    takes=ReactionRequest(),
    gives=ReactionView(),
    status=201,
    message="Shown.",
    refusals=(MeetingNotFound, MeetingNotActive, MeetingEnded, InvalidMeetingState, NotInside, ReactionsDisabled),
)
def react(tx: Transaction, actor: Actor, meeting_id: str, reaction_type: str) -> dict[str, Any]:
    """Show a reaction to everybody inside"""
    event = signals.react(get_standing(tx, meeting_id, actor), reaction_type)
    tx.emit(event)
    return event.data()
