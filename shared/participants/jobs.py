"""Work on participants."""

from dataclasses import dataclass
from typing import ClassVar

from shared.core.messages import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateParticipants(Job):
    """Change many participants, as the job says."""

    name: ClassVar[str] = "participants.update"
    job_id: str
