"""Tables of chat."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shared.core.database import METADATA, Id, Json, UtcDateTime

MESSAGE_TYPES = ("text", "emoji", "file", "link")

# `position` is where the meeting's stream stood: the message's own seq when all may read it, and the last seq before
# it when it is private. `seq` and `recipient_seq` are its numbers on the streams of the sender and the recipient.
messages = Table(
    "chat_messages",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("meeting_id", Id, ForeignKey("meetings.id"), nullable=False),
    Column("sender_id", Id, ForeignKey("meeting_participants.id"), nullable=False),
    Column("sender_name", String(100), nullable=False),
    Column("recipient_id", Id, ForeignKey("meeting_participants.id")),
    Column("content", Text),  # null once deleted
    Column("message_type", String(8), nullable=False),
    Column("reply_to", Id),
    Column("file", Json),
    Column("position", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("recipient_seq", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    Column("edited_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    CheckConstraint("message_type IN ('text', 'emoji', 'file', 'link')", name="type"),
    CheckConstraint("(recipient_id IS NULL) = (recipient_seq IS NULL)", name="private"),
    CheckConstraint("(content IS NULL) = (deleted_at IS NOT NULL)", name="tombstone"),
    Index("ix_chat_messages_meeting_id_position", "meeting_id", "position", "id"),
)

reactions = Table(
    "chat_reactions",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("message_id", Id, ForeignKey("chat_messages.id"), nullable=False),
    Column("participant_id", Id, ForeignKey("meeting_participants.id"), nullable=False),
    Column("emoji", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("message_id", "participant_id", "emoji"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """A chat message; `content` is None once it was deleted."""

    id: str
    meeting_id: str
    sender_id: str
    sender_name: str
    recipient_id: str | None
    content: str | None
    message_type: str
    reply_to: str | None
    file: dict[str, Any] | None
    position: int
    seq: int
    recipient_seq: int | None
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "Message":
        """Build a message from a row of `messages`."""
        return cls(*(getattr(row, name) for name in cls.__slots__))

    @property
    def is_private(self) -> bool:
        """Tell whether only sender and recipient may read it."""
        return self.recipient_id is not None

    @property
    def turn(self) -> tuple[int, str]:
        """Return what puts it in order for a cursor: the public message of a position stands before the private ones,
        whose ids say nothing of it when they are of the same millisecond."""
        return self.position, self.id if self.is_private else "0"

    def public(self) -> dict[str, Any]:
        """Return what an event and an answer have in common."""
        return {
            "message_id": self.id,
            "sender_id": self.sender_id,
            "sender_name": self.sender_name,
            "content": self.content,
            "message_type": self.message_type,
            "recipient_id": self.recipient_id,
            "is_private": self.is_private,
            "reply_to": self.reply_to,
            "file": self.file,
            "timestamp": self.created_at,
            "edited_at": self.edited_at,
            "is_deleted": self.deleted_at is not None,
        }
