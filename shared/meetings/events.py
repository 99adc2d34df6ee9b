"""What happens to meetings."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from shared.core.messages import Event, MeetingEvent
from shared.identity.actor import Actor
from shared.meetings.models import Meeting
from shared.realtime import effects


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingCreated(Event):
    """A meeting exists. Listeners give it its policy, its host's place and its invitations."""

    meeting: Meeting
    host: Actor
    policy: dict[str, Any] = field(default_factory=dict)
    invitees: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingEndBegun(Event):
    """A meeting is ending in this transaction. Before anything is told, listeners lock what they will change."""

    meeting_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _StatusEvent(MeetingEvent):
    """`guest_id` is the participant who caused it, when that is a co-host without an account; it is told to nobody."""

    type: ClassVar[str] = "meeting_status"
    meeting: Meeting
    guest_id: str | None = None

    action: ClassVar[str]

    def data(self) -> dict[str, Any]:
        """Return the state that holds from here on."""
        m = self.meeting
        return {
            "action": self.action,
            "status": m.status,
            "title": m.title,
            "description": m.description,
            "time_zone": m.time_zone,
            "scheduled_start": m.scheduled_start,
            "scheduled_end": m.scheduled_end,
            "started_at": m.started_at,
            "ended_at": m.ended_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingChanged(_StatusEvent):
    """Title, description or time are different; `changed` names what was set."""

    action: ClassVar[str] = "updated"
    changed: tuple[str, ...] = ()

    @property
    def effect(self) -> str | None:
        """Have looked up anew what everybody may do."""
        return effects.renew()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingStarted(_StatusEvent):
    """People can join."""

    action: ClassVar[str] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingCancelled(_StatusEvent):
    """It will not take place."""

    action: ClassVar[str] = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingFinished(_StatusEvent):
    """It is over, for everybody: all who were inside have left, and every socket is closed with 4510."""

    action: ClassVar[str] = "ended"
    final_word: ClassVar[bool] = True
    ended_at: datetime

    @property
    def effect(self) -> str | None:
        """Close all sockets of the meeting."""
        return effects.END
