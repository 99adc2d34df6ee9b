"""Jobs that somebody asked for and may watch (contract 4): what they are, and how far they have come."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Row, String, Table

from shared.core.database import METADATA, Id, Json, UtcDateTime
from shared.identity.actor import Actor

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
STATUSES = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED)

# The id is also that of the outbox row which brings the job to a worker.
jobs = Table(
    "jobs",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("meeting_id", Id, ForeignKey("meetings.id"), nullable=False),
    # Who asked: the place in the meeting, and the account, which guests have none of.
    Column("participant_id", Id, nullable=False),
    Column("user_id", Id),
    Column("user_name", String(100), nullable=False),
    Column("status", String(10), nullable=False),
    Column("wish", Json, nullable=False),
    Column("position", String(26), nullable=False),  # how far the work has come, in words of its own
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("result", Json, nullable=False),
    Column("error", Json),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"),
    CheckConstraint("(finished_at IS NULL) = (status IN ('queued', 'running'))", name="finished"),
    Index("ix_jobs_finished_at", "finished_at"),
    Index("ix_jobs_meeting_id", "meeting_id"),
)


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as it stands. `result` is of the kind's own shape; `error` is `{code, message}` of what ended it."""

    id: str
    kind: str
    meeting_id: str
    participant_id: str
    user_id: str | None
    user_name: str
    status: str
    wish: dict[str, Any]
    position: str
    done: int
    total: int
    result: dict[str, Any]
    error: dict[str, str] | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "JobState":
        """Build a job from a row of `jobs`."""
        return cls(*(getattr(row, name) for name in cls.__slots__))

    @property
    def is_over(self) -> bool:
        """Tell whether nothing will change any more."""
        return self.finished_at is not None

    @property
    def actor(self) -> Actor:
        """Return who asked, for the permissions to be asked anew. What a guest may do ends with the meeting."""
        if self.user_id is not None:
            return Actor(name=self.user_name, user_id=self.user_id)
        return Actor(name=self.user_name, participant_id=self.participant_id, meeting_id=self.meeting_id)

    def public(self) -> dict[str, Any]:
        """Return what whoever asked may see."""
        return {
            "job_id": self.id,
            "kind": self.kind,
            "status": self.status,
            "progress": {"done": self.done, "total": self.total},
            "result": self.result if self.status == SUCCEEDED else None,
            "error": self.error,
            "created_at": self.created_at,
            "finished_at": self.finished_at,
        }
