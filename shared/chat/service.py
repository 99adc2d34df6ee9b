"""Writing chat (contract 7): one service behind both doors, REST and WebSocket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import update

from shared.chat.events import MessageDeleted, MessageEdited, MessagePosted, MessageReacted, MessageTakenDown
from shared.chat.links import is_web_address
from shared.chat.models import Message, messages, reactions
from shared.chat.queries import get_message, seen_by
from shared.core import ledger, strict_json
from shared.core.errors import InsufficientPermission, NotFound, ValidationFailed
from shared.core.ids import new_id
from shared.core.messages import MeetingEvent
from shared.core.streams import meeting_stream, personal_stream
from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.meetings.queries import get_meeting
from shared.meetings.service import check_running
from shared.participants.errors import ParticipantNotFound
from shared.participants.membership import Membership, check_permitted, get_permitted
from shared.participants.models import Participant
from shared.participants.permissions import CHAT_DELETE, CHAT_DELETE_ANY, CHAT_SEND, POLICY_HOST_ONLY, demand, may
from shared.participants.queries import get_participant
from shared.policies.cache import get_policy
from shared.policies.errors import ChatDisabled, FileSharingDisabled
from shared.policies.models import Policy
from shared.policies.remedies import refusal
from shared.policies.service import permits


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageWish:
    """What somebody wants to say. `recipient_id` is a participant id and makes it private."""

    content: str
    message_type: str = "text"
    recipient_id: str | None = None
    reply_to: str | None = None
    file: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A message, and where the event about it stands on the stream of whoever asked."""

    message: Message
    position: Position


def post(tx: Transaction, meeting_id: str, actor: Actor, wish: MessageWish) -> Told:
    """Write into the chat of a running meeting.

    Emits MessagePosted: once on the meeting's stream, or once each on the two streams of a private message.
    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, NotInside, ChatDisabled, FileSharingDisabled,
    ParticipantNotFound (recipient), NotFound (reply_to), ValidationFailed (to oneself).
    """
    membership = get_permitted(tx, meeting_id, actor, CHAT_SEND)
    check_wish(membership, get_policy(tx, membership.meeting), wish)
    me = membership.me
    recipient = _recipient(tx, me, wish.recipient_id)
    if wish.reply_to is not None:
        get_message(tx, me, wish.reply_to)
    draft = draft_of(tx, me, wish, recipient)
    if draft.recipient_id is None:
        return publish(tx, [(draft, actor)])[0]
    told = _tell(tx, draft, actor, lambda m, to: MessagePosted(**_common(m, actor), listener_id=to))
    mine = told[draft.sender_id]
    head = _meeting_head(tx, meeting_id)
    message = replace(draft, seq=mine.seq, recipient_seq=told[draft.recipient_id].seq, position=head)
    tx.insert_later(messages, [_row(message)])
    return Told(message, mine)


def draft_of(tx: Transaction, me: Participant, wish: MessageWish, recipient: Participant | None = None) -> Message:
    """Return what somebody wants to write, without its numbers."""
    return Message(
        id=new_id(),
        meeting_id=me.meeting_id,
        sender_id=me.id,
        sender_name=me.user_name,
        recipient_id=recipient.id if recipient else None,
        content=wish.content,
        message_type=wish.message_type,
        reply_to=wish.reply_to,
        file=wish.file,
        position=0,
        seq=0,
        recipient_seq=None,
        created_at=tx.now,
        edited_at=None,
        deleted_at=None,
    )


def publish(tx: Transaction, drafts: Sequence[tuple[Message, Actor]]) -> list[Told]:
    """Tell all what was written, in whichever meetings, and keep it. Emits MessagePosted for each, in this order.

    Raises StreamClosed when one of the meetings is over.
    """
    positions = tx.emit_all([MessagePosted(**_common(draft, actor)) for draft, actor in drafts])
    told = [
        Told(replace(draft, seq=at.seq, position=at.seq), at) for (draft, _), at in zip(drafts, positions, strict=True)
    ]
    tx.insert_later(messages, [_row(one.message) for one in told])
    return told


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__slots__}


def _common(message: Message, actor: Actor) -> dict[str, Any]:
    return {"meeting_id": message.meeting_id, "actor_id": actor.user_id, "message": message}


def _writer(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    membership = get_permitted(tx, meeting_id, actor, CHAT_SEND)
    _check_chat(membership.me, get_policy(tx, membership.meeting))
    return membership


def _check_chat(me: Participant, policy: Policy) -> None:
    if not permits(policy.chat_permissions, is_staff=may(me, POLICY_HOST_ONLY)):
        raise refusal(ChatDisabled, "chat_permissions")
    if not me.can_chat:
        raise refusal(ChatDisabled, "can_chat")


def check_wish(membership: Membership, policy: Policy, wish: MessageWish) -> None:
    """Raise what keeps somebody from writing such a thing, whomever to: MeetingNotFound, MeetingNotActive,
    MeetingEnded, InvalidMeetingState, NotInside, ChatDisabled, FileSharingDisabled."""
    check_permitted(membership, CHAT_SEND)
    _check_chat(membership.me, policy)
    if wish.message_type == "file" and not policy.enable_file_sharing:
        raise refusal(FileSharingDisabled, "enable_file_sharing")


def _recipient(tx: Transaction, me: Participant, recipient_id: str | None) -> Participant | None:
    if recipient_id is None:
        return None
    if recipient_id == me.id:
        raise ValidationFailed(details={"recipient_id": ["You cannot write to yourself."]})
    recipient = get_participant(tx, me.meeting_id, recipient_id)
    if not recipient.is_inside:
        check_running(get_meeting(tx, me.meeting_id))  # it may have ended since the sender was looked at
        raise ParticipantNotFound
    return recipient


def _meeting_head(tx: Transaction, meeting_id: str) -> int:
    key = meeting_stream(meeting_id)
    return ledger.heads(tx.connection, [key])[key]


def _tell(
    tx: Transaction, message: Message, actor: Actor, make: Callable[[Message, str | None], MeetingEvent]
) -> dict[str, Position]:
    """Emit an event to everybody whom the message concerns; return the position by listener.

    The streams of a private message are taken in the order of their ids, so that two people who write to each other
    at once do not wait for each other in a circle.
    """
    if not message.is_private:
        at = tx.emit(make(message, None))
        assert at is not None
        return {message.sender_id: at}
    ends = sorted({message.sender_id, message.recipient_id or ""})
    return {end: at for end in ends if (at := tx.emit(make(message, end))) is not None}


def edit(tx: Transaction, meeting_id: str, actor: Actor, message_id: str, content: str) -> Told:
    """Change the text of one's own message. Emits MessageEdited; the ledger forgets the old text.

    Raises as `post`, NotFound, InsufficientPermission (somebody else's), ValidationFailed (a link that is none).
    """
    membership = _writer(tx, meeting_id, actor)
    message = get_message(tx, membership.me, message_id, lock=True)
    if message.sender_id != membership.me.id:
        raise refusal(InsufficientPermission, "author", "Only the author can edit a message.")
    if message.deleted_at is not None:
        raise NotFound("There is no such message.")
    if message.message_type == "link" and not is_web_address(content):
        raise ValidationFailed(details={"content": ["Must be an http or https URL."]})
    tx.execute(update(messages).where(messages.c.id == message_id).values(content=content, edited_at=tx.now))
    message = replace(message, content=content, edited_at=tx.now)
    _rewrite(tx, message)
    told = _tell(tx, message, actor, lambda m, to: MessageEdited(**_common(m, actor), listener_id=to))
    return Told(message, told[membership.me.id])


def delete(tx: Transaction, meeting_id: str, actor: Actor, message_id: str) -> Told:
    """Delete a message: one's own, or as host or co-host any that all can read.

    Emits MessageDeleted, and MessageTakenDown when it was somebody else's.

    A tombstone without content stays, in the chat and in the ledger. Safe to repeat.
    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, NotInside, NotFound, InsufficientPermission.
    """
    membership = get_permitted(tx, meeting_id, actor, CHAT_DELETE)
    me = membership.me
    message = get_message(tx, me, message_id, lock=True)
    if message.sender_id != me.id:
        demand(me, CHAT_DELETE_ANY)
        if message.is_private:
            raise refusal(InsufficientPermission, "author", "Only its author can delete a private message.")
    if message.deleted_at is not None:
        seq, _ = seen_by(message, me.id)
        return Told(
            message, Position(personal_stream(me.id) if message.is_private else meeting_stream(meeting_id), seq)
        )
    tx.execute(update(messages).where(messages.c.id == message_id).values(content=None, file=None, deleted_at=tx.now))
    message = replace(message, content=None, file=None, deleted_at=tx.now)
    _rewrite(tx, message)
    told = _tell(tx, message, actor, lambda m, to: MessageDeleted(**_common(m, actor), listener_id=to))
    if message.sender_id != me.id:
        tx.emit(MessageTakenDown(by=me, message=message))
    return Told(message, told.get(me.id) or next(iter(told.values())))


def _rewrite(tx: Transaction, message: Message) -> None:
    """Let the ledger say what the message is now, wherever it said what it was: who resumes must not read old text."""
    posted = strict_json.dumps({"action": "posted", **message.public()}).decode()
    edited = strict_json.dumps({"action": "edited", **message.public()}).decode()
    beginning = strict_json.dumps({"action": "edited", "message_id": message.id}).decode().rstrip("}")
    if message.recipient_id is None:
        told = {meeting_stream(message.meeting_id): message.seq}
    else:
        told = {
            personal_stream(message.sender_id): message.seq,
            personal_stream(message.recipient_id): message.recipient_seq or 0,
        }
    for stream, seq in told.items():
        ledger.redact(tx.connection, stream, seq, posted)
        if message.edited_at is not None:
            ledger.redact_later(tx.connection, stream, seq, beginning, edited)


@dataclass(frozen=True, slots=True)
class Reacted:
    """An emoji that stands on a message."""

    message_id: str
    participant_id: str
    emoji: str


def react(tx: Transaction, meeting_id: str, actor: Actor, message_id: str, emoji: str) -> Reacted:
    """Put an emoji on a message; once per person and emoji, safe to repeat. Emits MessageReacted the first time.

    Raises as `post`, NotFound.
    """
    membership = _writer(tx, meeting_id, actor)
    me = membership.me
    message = get_message(tx, me, message_id)
    if message.deleted_at is not None:
        raise NotFound("There is no such message.")
    new = tx.insert(reactions).values(
        id=new_id(), message_id=message_id, participant_id=me.id, emoji=emoji, created_at=tx.now
    )
    if tx.scalar(new.on_conflict_do_nothing().returning(reactions.c.id)) is not None:
        _tell(
            tx,
            message,
            actor,
            lambda m, to: MessageReacted(**_common(m, actor), listener_id=to, participant_id=me.id, emoji=emoji),
        )
    return Reacted(message_id, me.id, emoji)
