"""The table of meetings, and what a meeting looks like to the services."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Row, String, Table, Text, text

from shared.core.database import METADATA, Id, UtcDateTime

SCHEDULED, IN_PROGRESS, COMPLETED, CANCELLED = "scheduled", "in_progress", "completed", "cancelled"
STATUSES = (SCHEDULED, IN_PROGRESS, COMPLETED, CANCELLED)

meetings = Table(
    "meetings",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("host_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    # Meetings that belong together have the same one. Told to nobody; random, so that it leads to none of them.
    Column("series_id", Id, index=True),
    Column("title", String(200), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("status", String(12), nullable=False, default=SCHEDULED),
    Column("time_zone", String(64), nullable=False, default="UTC"),
    Column("scheduled_start", UtcDateTime),
    Column("scheduled_end", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("started_by", Id),
    Column("ended_at", UtcDateTime),
    Column("ended_by", Id),
    Column("deadline_at", UtcDateTime),  # when beat ends it; set at the start from the policy
    Column("seats_taken", Integer, nullable=False, default=0),  # attendees inside; hosts and co-hosts need no seat
    Column("policy_version", Integer, nullable=False, default=1),  # bumped with the policy: says what a cache may hold
    Column("created_at", UtcDateTime, nullable=False),
    Column("archived_at", UtcDateTime),  # when the last of its events had left the ledger
    CheckConstraint("status IN ('scheduled', 'in_progress', 'completed', 'cancelled')", name="status"),
    CheckConstraint("seats_taken >= 0", name="seats"),
    CheckConstraint("(status = 'scheduled' OR status = 'cancelled') = (started_at IS NULL)", name="started"),
    CheckConstraint("(status = 'completed') = (ended_at IS NOT NULL)", name="ended"),
    Index("ix_meetings_status_started_at", "status", "started_at"),
    Index("ix_meetings_status_deadline_at", "status", "deadline_at"),
    Index(
        "ix_meetings_unarchived",
        "ended_at",
        "id",
        sqlite_where=text("ended_at IS NOT NULL AND archived_at IS NULL"),
        postgresql_where=text("ended_at IS NOT NULL AND archived_at IS NULL"),
    ),
)


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting as the database has it, with its host's name."""

    id: str
    host_id: str
    host_name: str
    series_id: str | None
    title: str
    description: str
    status: str
    time_zone: str
    scheduled_start: datetime | None
    scheduled_end: datetime | None
    started_at: datetime | None
    started_by: str | None
    ended_at: datetime | None
    ended_by: str | None
    deadline_at: datetime | None
    seats_taken: int
    policy_version: int
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Meeting":
        """Build a meeting from a row of `queries.MEETING`."""
        return cls(*(getattr(row, name) for name in cls.__slots__))

    @property
    def is_running(self) -> bool:
        """Tell whether people can be inside."""
        return self.status == IN_PROGRESS

    @property
    def duration_minutes(self) -> float:
        """Return the minutes from start to end; 0.0 while it is not over, or when both were asked for at once."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, round((self.ended_at - self.started_at).total_seconds() / 60, 3))
