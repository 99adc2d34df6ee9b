"""Doors of media (contract 9)."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.errors import NotFound
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.livekit import tokens
from shared.livekit.errors import LiveKitTokenError
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import permissions
from shared.participants.errors import NotInside
from shared.participants.media import grant_for
from web.http.door import door
from web.livekit.schemas import TokenRequest, TokenView

blueprint = Blueprint(
    "livekit", __name__, url_prefix="/api/v1/meetings/<meeting_id>", description="Tokens for the media server"
)


@door(
    blueprint,
    "POST",
    "/token",
    permission=permissions.MEDIA_CONNECT,
    takes=TokenRequest(),
    gives=TokenView(),
    message="Connect to LiveKit with this.",
    refusals=(
        MeetingNotFound,
        MeetingNotActive,
        MeetingEnded,
        InvalidMeetingState,
        NotInside,
        NotFound,
        LiveKitTokenError,
    ),
)
def media_token(tx: Transaction, actor: Actor, meeting_id: str, breakout_room_id: str | None) -> Any:
    """Get a token for the media server, for yourself, for at most ten minutes"""
    grant = grant_for(tx, meeting_id, actor, breakout_room_id)
    return tokens.sign(tx.settings, grant, tx.now)
