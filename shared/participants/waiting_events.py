"""What happens in the waiting room (contract 5): told to hosts, and to each who waits on a stream of their own."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shared.core.messages import MeetingEvent, Signal
from shared.core.streams import hosts_stream, personal_stream
from shared.meetings.events import MeetingFinished
from shared.participants.models import Participant
from shared.realtime import close_codes, effects


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRequested(MeetingEvent):
    """Somebody stands in the waiting room; hosts are told."""

    type: ClassVar[str] = "waiting_room"
    participant: Participant
    position: int

    @property
    def stream(self) -> str:
        """Return the stream of hosts and co-hosts."""
        return hosts_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return who waits, and where in the queue."""
        p = self.participant
        return {
            "action": "waiting",
            "participant_id": p.id,
            "user_id": p.user_id,
            "user_name": p.user_name,
            "waiting_since": p.waiting_since,
            "position": self.position,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOverdue(MeetingEvent):
    """Somebody has waited for longer than the policy lets them; hosts are told."""

    type: ClassVar[str] = "waiting_room"
    participant: Participant

    @property
    def stream(self) -> str:
        """Return the stream of hosts and co-hosts."""
        return hosts_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return who waits, since when."""
        p = self.participant
        return {
            "action": "overdue",
            "participant_id": p.id,
            "user_id": p.user_id,
            "user_name": p.user_name,
            "waiting_since": p.waiting_since,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitedInVain(MeetingFinished):
    """The meeting is over, for somebody in its waiting room: told on a stream of their own."""

    participant_id: str

    @property
    def stream(self) -> str:
        """Return the stream of the one who waited."""
        return personal_stream(self.participant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryWithdrawn(MeetingEvent):
    """Somebody who waited went away; hosts are told."""

    type: ClassVar[str] = "waiting_room"
    participant: Participant

    @property
    def stream(self) -> str:
        """Return the stream of hosts and co-hosts."""
        return hosts_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return who no longer waits."""
        p = self.participant
        return {"action": "withdrawn", "participant_id": p.id, "user_id": p.user_id, "user_name": p.user_name}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDecided(MeetingEvent):
    """A host decided about somebody who waited; hosts are told. `action` is admitted, denied or removed."""

    type: ClassVar[str] = "waiting_room"
    participant: Participant
    action: str

    @property
    def stream(self) -> str:
        """Return the stream of hosts and co-hosts."""
        return hosts_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return who, and what was decided."""
        p = self.participant
        return {"action": self.action, "participant_id": p.id, "user_id": p.user_id, "user_name": p.user_name}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToWaiter(MeetingEvent):
    """Something that is told to one person who waits, or waited until now."""

    type: ClassVar[str] = "waiting_room"
    action: ClassVar[str]
    participant: Participant

    @property
    def stream(self) -> str:
        """Return the person's own stream."""
        return personal_stream(self.participant.id)

    def data(self) -> dict[str, Any]:
        """Return what happened."""
        return {"action": self.action, "participant_id": self.participant.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(_ToWaiter):
    """Come in. `cursors` say from behind which numbers the same socket hears the streams that are new to it."""

    action: ClassVar[str] = "admitted"
    cursors: dict[str, int]

    def data(self) -> dict[str, Any]:
        """Return the place, and where to go on."""
        return {**_ToWaiter.data(self), "participant": self.participant.public(), "cursors": self.cursors}

    @property
    def effect(self) -> str | None:
        """Let the person's sockets hear the meeting."""
        return effects.inside(self.participant.id, self.cursors["meeting"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_ToWaiter):
    """You may not come in. Their sockets are closed with 4503."""

    action: ClassVar[str] = "denied"
    reason: str | None

    def data(self) -> dict[str, Any]:
        """Return the reason, if one was given."""
        return {**_ToWaiter.data(self), "reason": self.reason}

    @property
    def effect(self) -> str | None:
        """Close the sockets that the person has."""
        return effects.gone(self.participant.id, close_codes.REMOVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedWhileWaiting(Refused):
    """You are removed."""

    action: ClassVar[str] = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrew(_ToWaiter):
    """You wait no more, as you wished. Sockets that are still open are closed with 1000."""

    action: ClassVar[str] = "withdrawn"

    @property
    def effect(self) -> str | None:
        """Close the sockets that the person has."""
        return effects.gone(self.participant.id, close_codes.NORMAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBack(_ToWaiter):
    """You are in the waiting room again."""

    action: ClassVar[str] = "waiting"
    position: int

    def data(self) -> dict[str, Any]:
        """Return the place in the queue."""
        return {**_ToWaiter.data(self), "position": self.position}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiterAddressed(_ToWaiter):
    """A host has something to say to those who wait, or nobody has answered yet."""

    action: ClassVar[str] = "message"
    text: str

    def data(self) -> dict[str, Any]:
        """Return the text."""
        return {**_ToWaiter.data(self), "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMoved(Signal):
    """Your place in the queue is another one. Not kept: the next one counts, and a join asks for it."""

    type: ClassVar[str] = "waiting_room"
    participant_id: str
    position: int

    @property
    def stream(self) -> str:
        """Return the person's own stream."""
        return personal_stream(self.participant_id)

    def data(self) -> dict[str, Any]:
        """Return the place in the queue, 1 is next."""
        return {"action": "position", "participant_id": self.participant_id, "position": self.position}
