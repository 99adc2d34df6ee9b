"""What happens to jobs."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shared.core.messages import MeetingEvent
from shared.core.streams import personal_stream
from shared.jobs.models import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAdvanced(MeetingEvent):
    """A job that you asked for has come further, or to its end."""

    type: ClassVar[str] = "job"
    job: JobState

    @property
    def stream(self) -> str:
        """Return the stream of whoever asked."""
        return personal_stream(self.job.participant_id)

    def data(self) -> dict[str, Any]:
        """Return the job as it stands."""
        return self.job.public()
