"""Chat over the WebSocket: the same service as over REST."""

from collections.abc import Sequence
from typing import Any

from marshmallow import fields

from shared.chat import crowd
from shared.chat import service as chat
from shared.chat.crowd import Post
from shared.chat.events import MessageDeleted, MessageEdited, MessagePosted, MessageReacted
from shared.chat.service import MessageWish, Told
from shared.core.errors import DomainError
from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.participants.permissions import CHAT_SEND
from web.chat.schemas import MessageRequest, MessageView
from web.http.schema import Choice, Id, Schema
from web.realtime.announcements import announces
from web.realtime.frame_types import Ask, frame, together


@frame("chat", MessageRequest(), permission=CHAT_SEND, limit="chat")
def send(tx: Transaction, actor: Actor, meeting_id: str, **wanted: Any) -> Position:
    """Write a message."""
    return chat.post(tx, meeting_id, actor, MessageWish(**wanted)).position


@together("chat", when=lambda wanted: wanted.get("recipient_id") is None)
def send_all(tx: Transaction, asks: Sequence[Ask]) -> list[Position | DomainError]:
    """Write messages that all can read."""
    posts = [Post(ask.sender.actor, ask.sender.participant_id, MessageWish(**ask.wanted)) for ask in asks]
    return [one.position if isinstance(one, Told) else one for one in crowd.post_all(tx, posts)]


class MessageData(MessageView):
    """A message as it is now; stream and seq are those of the frame. `content` is null once it was deleted."""

    class Meta:
        exclude = ("stream", "seq")

    action = Choice("posted", "edited", "deleted", required=True)


class MessageReactionData(Schema):
    """An emoji on a message."""

    action = Choice("reaction", required=True)
    message_id = Id(required=True)
    participant_id = Id(required=True)
    emoji = fields.String(required=True)


announces(MessageData(), MessagePosted, MessageEdited, MessageDeleted)
announces(MessageReactionData(), MessageReacted)
