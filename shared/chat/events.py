"""What happens in a chat. All are frames of type `chat`; `action` says which."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shared.chat.models import Message
from shared.core.messages import Event, MeetingEvent
from shared.core.streams import meeting_stream, personal_stream
from shared.participants.models import Participant
from shared.realtime import effects


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChatEvent(MeetingEvent):
    """Told to all, or to one end of a private message: `listener_id` is the participant who hears it."""

    type: ClassVar[str] = "chat"
    action: ClassVar[str]
    message: Message
    listener_id: str | None = None

    @property
    def stream(self) -> str:
        """Return the meeting's stream, or the listener's own."""
        return personal_stream(self.listener_id) if self.listener_id else meeting_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return the message."""
        return {"action": self.action, **self.message.public()}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePosted(_ChatEvent):
    """Somebody wrote."""

    action: ClassVar[str] = "posted"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited(_ChatEvent):
    """Somebody changed what they wrote."""

    action: ClassVar[str] = "edited"

    @property
    def effect(self) -> str | None:
        """Forget the frame with the old text."""
        return effects.REDACT


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted(_ChatEvent):
    """A message is gone; the tombstone has no content."""

    action: ClassVar[str] = "deleted"

    @property
    def effect(self) -> str | None:
        """Forget the frame with the text."""
        return effects.REDACT


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTakenDown(Event):
    """A host or co-host, `by`, has deleted somebody else's message. For listeners; clients hear MessageDeleted."""

    by: Participant
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReacted(_ChatEvent):
    """Somebody put an emoji on a message."""

    action: ClassVar[str] = "reaction"
    participant_id: str
    emoji: str

    def data(self) -> dict[str, Any]:
        """Return who reacted to which message, and how."""
        return {
            "action": self.action,
            "message_id": self.message.id,
            "participant_id": self.participant_id,
            "emoji": self.emoji,
        }
