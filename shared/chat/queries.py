"""Reading chat (contract 7): which messages somebody may see, and how they are numbered for them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from shared.chat.models import Message, messages
from shared.core.errors import NotFound
from shared.core.ids import is_id
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.participants.membership import get_permitted
from shared.participants.models import Participant, participants
from shared.participants.permissions import CHAT_READ
from shared.participants.queries import somebody_was_there, was_there


def get_message(tx: Transaction, me: Participant, message_id: str, *, lock: bool = False) -> Message:
    """Return a message that `me` may read. Raises NotFound, alike for what does not exist and what is not theirs.

    `lock` keeps others from changing it until the commit: who edits must not meet a deletion half-way.
    """
    row = None
    if is_id(message_id):
        query = _readable(me).where(messages.c.id == message_id)
        row = tx.first(query.with_for_update(of=messages, key_share=True) if lock else query)
    if row is None:
        raise no_such_message()
    return Message.of(row)


def no_such_message() -> NotFound:
    """Return the refusal that names a message nobody may know of."""
    return NotFound("There is no such message.")


def _readable(me: Participant) -> Select[Any]:
    visible = _visible_to(me.id, was_there(me, messages.c.position))
    return select(messages).where(messages.c.meeting_id == me.meeting_id, visible)


def _visible_to(whose: Any, was_inside: ColumnElement[bool]) -> ColumnElement[bool]:
    mine = or_(messages.c.sender_id == whose, messages.c.recipient_id == whose)
    return or_(mine, and_(messages.c.recipient_id.is_(None), was_inside))


_READABLE_TO = (
    select(participants.c.id.label("reader"), messages.c.id.label("message"))
    .join(participants, participants.c.meeting_id == messages.c.meeting_id)
    .where(
        one_of(participants.c.id, "readers"),
        one_of(messages.c.id, "messages"),
        _visible_to(participants.c.id, somebody_was_there(messages.c.position)),
    )
)


def readable(tx: Transaction, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those pairs of participant and message of which the one may read the other, as `get_message` finds it."""
    wanted = {pair for pair in pairs if is_id(pair[1])}
    if not wanted:
        return set()
    readers, message_ids = map(set, zip(*wanted, strict=True))
    found = {(row.reader, row.message) for row in tx.all(_READABLE_TO, {"readers": readers, "messages": message_ids})}
    return found & wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of the history: oldest first, `after` the turn of a message (exclusive)."""

    limit: int
    offset: int = 0
    before_seq: int | None = None
    after_seq: int | None = None
    after: tuple[int, str] | None = None


def history(tx: Transaction, meeting_id: str, actor: Actor, page: Page) -> list[tuple[Message, int, str]]:
    """Return messages the actor may read, with seq and stream as the actor counts them, and no more than one extra.

    Public ones from the time the actor was inside; private ones to and from the actor. A private message stands
    behind the public one that was the last before it. Raises MeetingNotFound, NotInside.
    """
    me = get_permitted(tx, meeting_id, actor, CHAT_READ).me
    at = messages.c.position
    is_private = messages.c.recipient_id.is_not(None)
    query = _readable(me).order_by(at, is_private, messages.c.id)
    if page.before_seq is not None:
        query = query.where(at < page.before_seq)
    if page.after_seq is not None:
        query = query.where(or_(at > page.after_seq, and_(at == page.after_seq, is_private)))
    if page.after is not None:
        position, id_ = page.after  # at one position stands at most one public message, before the private ones
        query = query.where(or_(at > position, and_(at == position, is_private, messages.c.id > id_)))
    rows = tx.all(query.offset(page.offset).limit(page.limit + 1))
    return [(m, *seen_by(m, me.id)) for m in map(Message.of, rows)]


def seen_by(message: Message, participant_id: str) -> tuple[int, str]:
    """Return the message's number, and the wire name of the stream, as a participant counts."""
    if not message.is_private:
        return message.seq, "meeting"
    if participant_id == message.sender_id or message.recipient_seq is None:
        return message.seq, "me"
    return message.recipient_seq, "me"
