"""Doors of chat (contract 7)."""

from collections.abc import Sequence
from typing import Any

from flask_smorest import Blueprint

from shared.chat import crowd
from shared.chat import service as chat
from shared.chat.crowd import Asking
from shared.chat.queries import Page, history, seen_by
from shared.chat.service import MessageWish, Reacted, Told
from shared.core.batching import NotTogether
from shared.core.errors import DomainError, InsufficientPermission, NotFound
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import permissions
from shared.participants.errors import NotInside, ParticipantNotFound
from shared.policies.errors import ChatDisabled, FileSharingDisabled
from web.chat.schemas import EditRequest, EmojiRequest, HistoryQuery, MessageRequest, MessageView, ReactedView
from web.http.door import door
from web.http.pagination import cut, decode_cursor, encode_cursor, number_in, pagination
from web.http.reply import Reply
from web.http.together import Asked

blueprint = Blueprint(
    "chat", __name__, url_prefix="/api/v1/meetings/<meeting_id>/chat", description="Messages, public and private"
)

_WRITING = (MeetingNotFound, MeetingNotActive, MeetingEnded, InvalidMeetingState, NotInside, ChatDisabled)


def _post_together(
    tx: Transaction, asked: Sequence[Asked], *, waits: bool
) -> Sequence[Reply | DomainError | NotTogether]:
    asking = [Asking(one.path["meeting_id"], one.actor, MessageWish(**one.wanted)) for one in asked]
    outcomes = crowd.post_in_several(tx, asking, waits=waits)
    return [Reply(_view(one)) if isinstance(one, Told) else one for one in outcomes]


@door(
    blueprint,
    "POST",
    "",
    permission=permissions.CHAT_SEND,
    takes=MessageRequest(),
    gives=MessageView(),
    together=_post_together,
    status=201,
    limit="chat",
    message="Sent.",
    refusals=(*_WRITING, ParticipantNotFound, NotFound, FileSharingDisabled),
)
def post_message(tx: Transaction, actor: Actor, meeting_id: str, **wanted: Any) -> dict[str, Any]:
    """Write a message"""
    return _view(chat.post(tx, meeting_id, actor, MessageWish(**wanted)))


def _view(told: Told) -> dict[str, Any]:
    return {**told.message.public(), "stream": told.position.name, "seq": told.position.seq}


@door(
    blueprint,
    "GET",
    "",
    permission=permissions.CHAT_READ,
    query=HistoryQuery(),
    gives=MessageView(),
    many=True,
    refusals=(MeetingNotFound, NotInside),
)
def read_history(
    tx: Transaction,
    actor: Actor,
    meeting_id: str,
    limit: int,
    offset: int,
    cursor: str | None,
    before_seq: int | None = None,
    after_seq: int | None = None,
) -> Reply:
    """Read messages, oldest first

    Public ones from the time you were inside, private ones to and from you. `before_seq` and `after_seq` are numbers
    of the `meeting` stream; a private message stands behind the public one that was the last before it.
    """
    after = None
    if cursor:
        position, id_ = decode_cursor(cursor, 2)
        after = (number_in(position), id_)
    wanted = Page(limit=limit, offset=offset, before_seq=before_seq, after_seq=after_seq, after=after)
    page, more = cut(history(tx, meeting_id, actor, wanted), limit)
    following = encode_cursor(*page[-1][0].turn) if more else None
    data = [{**message.public(), "seq": seq, "stream": stream} for message, seq, stream in page]
    return Reply(data, pagination=pagination(limit, following))


@door(
    blueprint,
    "PATCH",
    "/<message_id>",
    permission=permissions.CHAT_SEND,
    takes=EditRequest(),
    gives=MessageView(),
    limit="chat",
    message="Changed.",
    refusals=(*_WRITING, NotFound, InsufficientPermission),
)
def edit_message(tx: Transaction, actor: Actor, meeting_id: str, message_id: str, content: str) -> dict[str, Any]:
    """Change your own message"""
    return _own_view(chat.edit(tx, meeting_id, actor, message_id, content))


@door(
    blueprint,
    "DELETE",
    "/<message_id>",
    permission=permissions.CHAT_DELETE,
    gives=MessageView(),
    limit="chat",
    message="Deleted.",
    refusals=(*_WRITING, NotFound, InsufficientPermission),
)
def delete_message(tx: Transaction, actor: Actor, meeting_id: str, message_id: str) -> dict[str, Any]:
    """Delete your own message; hosts and co-hosts may delete any public one"""
    return _own_view(chat.delete(tx, meeting_id, actor, message_id))


def _own_view(told: Told) -> dict[str, Any]:
    seq, stream = seen_by(told.message, told.message.sender_id)
    return {**told.message.public(), "stream": stream, "seq": seq}


@door(
    blueprint,
    "POST",
    "/<message_id>/reactions",
    permission=permissions.CHAT_SEND,
    takes=EmojiRequest(),
    gives=ReactedView(),
    status=201,
    limit="chat",
    message="Reacted.",
    refusals=(*_WRITING, NotFound),
)
def react_to_message(tx: Transaction, actor: Actor, meeting_id: str, message_id: str, emoji: str) -> Reacted:
    """Put an emoji on a message"""
    return chat.react(tx, meeting_id, actor, message_id, emoji)
