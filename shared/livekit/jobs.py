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
