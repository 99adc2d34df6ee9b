"""What happens to participants."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shared.core.messages import MeetingEvent
from shared.core.streams import hosts_stream, personal_stream
from shared.meetings.events import MeetingFinished
from shared.participants.models import Participant
from shared.realtime import close_codes, effects


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantJoined(MeetingEvent):
    """Somebody is inside now."""

    type: ClassVar[str] = "join"
    participant: Participant

    def data(self) -> dict[str, Any]:
        """Return the participant as others see them."""
        return self.participant.public()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantLeft(MeetingEvent):
    """Somebody is out. `reason` is left or connection_lost. Their sockets are closed with 1000."""

    type: ClassVar[str] = "leave"
    participant: Participant
    reason: str

    def data(self) -> dict[str, Any]:
        """Return who left, when, and why."""
        p = self.participant
        return {
            "participant_id": p.id,
            "user_id": p.user_id,
            "user_name": p.user_name,
            "status": p.status,
            "left_at": p.left_at,
            "reason": self.reason,
        }

    @property
    def effect(self) -> str | None:
        """Close the sockets that the person still has."""
        return effects.gone(self.participant.id, close_codes.NORMAL)


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
class ParticipantUpdated(MeetingEvent):
    """Flags of a participant are different; the event carries all of them as they are now."""

    type: ClassVar[str] = "participant_update"
    participant: Participant

    def data(self) -> dict[str, Any]:
        """Return the participant as others see them."""
        return self.participant.public()

    @property
    def effect(self) -> str | None:
        """Have looked up anew what the person may do."""
        return effects.renew(self.participant.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandRaised(MeetingEvent):
    """A hand went up or down."""

    type: ClassVar[str] = "hand_raise"
    participant: Participant

    def data(self) -> dict[str, Any]:
        """Return whose hand, and since when it is up."""
        p = self.participant
        return {
            "participant_id": p.id,
            "user_id": p.user_id,
            "user_name": p.user_name,
            "is_hand_raised": p.is_hand_raised,
            "hand_raised_at": p.hand_raised_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenShareChanged(MeetingEvent):
    """Somebody began or stopped to share a screen."""

    type: ClassVar[str] = "screen_share"
    participant: Participant

    def data(self) -> dict[str, Any]:
        """Return who, and whether they share now."""
        p = self.participant
        return {
            "participant_id": p.id,
            "user_id": p.user_id,
            "user_name": p.user_name,
            "is_screen_sharing": p.is_screen_sharing,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatusChanged(MeetingEvent):
    """Somebody lost the last connection (reconnecting), or is back (connected)."""

    type: ClassVar[str] = "connection_status"
    participant: Participant
    status: str

    def data(self) -> dict[str, Any]:
        """Return who, and the status."""
        p = self.participant
        return {"participant_id": p.id, "user_id": p.user_id, "user_name": p.user_name, "status": self.status}
