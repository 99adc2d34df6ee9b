"""Chat over the WebSocket: the same service as over REST."""

from typing import Any

from shared.chat import service as chat
from shared.chat.service import MessageWish
from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from web.chat.schemas import MessageRequest
from web.realtime.dispatch import frame


@frame("chat", MessageRequest(), limit="chat", is_kept=True)
def send(tx: Transaction, actor: Actor, meeting_id: str, **wanted: Any) -> Position:
    """Write a message."""
    return chat.post(tx, meeting_id, actor, MessageWish(**wanted)).position
