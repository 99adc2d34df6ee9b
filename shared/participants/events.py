"""What happens to participants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shared.core.messages import Event, MeetingEvent
from shared.core.streams import hosts_stream, meeting_stream, personal_stream
from shared.meetings.models import Meeting
from shared.participants.models import REMOVED, WAITING, Participant
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
    """Somebody is out. `reason` is left or connection_lost, and their sockets are closed with 1000; removed or banned,
    and they are closed with 4503; or sent_back: they stay open and hear nothing of the meeting any more.
    """

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
        """Take from the person's sockets what they may no longer hear."""
        p = self.participant
        if p.status == WAITING:
            return effects.outside(p.id)
        return effects.gone(p.id, close_codes.REMOVED if p.status == REMOVED else close_codes.NORMAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantBanned(Event):
    """Somebody was put out for good. `participant` is the place as it is from here on."""

    meeting: Meeting
    participant: Participant
    actor_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantUpdated(MeetingEvent):
    """Flags of a participant are different; the event carries all of them as they are now.

    About somebody who is not inside only hosts and co-hosts are told.
    """

    type: ClassVar[str] = "participant_update"
    participant: Participant

    @property
    def stream(self) -> str:
        """Return the stream of those who may know that this person is one of the meeting."""
        return meeting_stream(self.meeting_id) if self.participant.is_inside else hosts_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return the participant as others see them."""
        return self.participant.public()

    @property
    def effect(self) -> str | None:
        """Have looked up anew what the person may do."""
        return effects.renew(self.participant.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantsUpdated(MeetingEvent):
    """Flags or rights of several people inside are different. `changes` holds for each of them, by participant id, what
    is, and nothing else: an event about hundreds has to fit a frame.
    """

    type: ClassVar[str] = "participant_update"
    changes: Mapping[str, Mapping[str, Any]]

    def data(self) -> dict[str, Any]:
        """Return who changed, and how."""
        return {"participants": [{"participant_id": id_, **values} for id_, values in self.changes.items()]}

    @property
    def effect(self) -> str | None:
        """Have looked up anew what people may do, where that changed."""
        is_about_rights = any("can_chat" in values or "can_publish" in values for values in self.changes.values())
        return effects.renew() if is_about_rights else None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChanged(MeetingEvent):
    """Your role is another one. `cursors` hold the stream of hosts when you hear it from now on."""

    type: ClassVar[str] = "participant_update"
    participant: Participant
    cursors: dict[str, int]

    @property
    def stream(self) -> str:
        """Return the person's own stream."""
        return personal_stream(self.participant.id)

    def data(self) -> dict[str, Any]:
        """Return the participant, and where to go on."""
        return {**self.participant.public(), "cursors": self.cursors}

    @property
    def effect(self) -> str | None:
        """Let the person's sockets hear the stream of hosts, or hear it no more."""
        p = self.participant
        if "hosts" in self.cursors:
            return effects.promoted(p.id, self.cursors["hosts"])
        return None if p.is_staff else effects.demoted(p.id)
