"""Work on meetings."""

from dataclasses import dataclass
from typing import ClassVar

from shared.core.messages import Job, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class PrewarmMeeting(Job):
    """Lay the policy of a meeting that was started into Redis, for the processes that have not seen it."""

    name: ClassVar[str] = "meetings.prewarm_started"
    lane: ClassVar[Lane] = "fast"
    meeting_id: str
