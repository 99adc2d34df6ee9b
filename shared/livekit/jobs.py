"""Work at the LiveKit server."""

from dataclasses import dataclass
from typing import ClassVar

from shared.core.messages import Job, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRoom(Job):
    """End the media of a meeting."""

    name: ClassVar[str] = "livekit.delete_room"
    lane: ClassVar[Lane] = "media"
    room: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignParticipant(Job):
    """Have the media server agree with the database about one person: who is out there is sent out, who is inside may
    do what the database says now. Safe to run late, twice, and in any order.
    """

    name: ClassVar[str] = "livekit.align_participant"
    lane: ClassVar[Lane] = "media"
    room: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleEvent(Job):
    """Work on an event that LiveKit sent."""

    name: ClassVar[str] = "livekit.handle_event"
    lane: ClassVar[Lane] = "fast"
    event_id: str
