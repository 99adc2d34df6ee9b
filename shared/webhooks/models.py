"""Tables of outgoing webhooks: where to send, how far each meeting was sent there, and what became of each event."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shared.core.database import METADATA, Id, Json, UtcDateTime

PENDING, RETRYING, DELIVERED, FAILED, DEAD = "pending", "retrying", "delivered", "failed", "dead"
STATES = (PENDING, RETRYING, DELIVERED, FAILED, DEAD)

# `secret` and `previous_secret` are encrypted by the keyring. `failures` counts those since the last success, whatever
# the meeting; from some number on, or when the receiver asks for it, nothing is sent before `open_until`.
endpoints = Table(
    "webhook_endpoints",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("meeting_id", Id, ForeignKey("meetings.id"), index=True),  # null: of every meeting the user hosts
    Column("url", String(2000), nullable=False),
    Column("events", Json, nullable=False),
    Column("description", String(500)),
    Column("is_enabled", Boolean, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_until", UtcDateTime),
    Column("failures", Integer, nullable=False, default=0),
    Column("failing_since", UtcDateTime),
    Column("open_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("(failures > 0) = (failing_since IS NOT NULL)", name="failing"),
)

# How far a meeting's stream was sent to an endpoint: the ledger is the queue. Whoever holds `run` sends, alone, until
# `leased_until`. `due_at` is when to look again, null when nothing will come any more. An event's 24 hours begin at
# `since` at the earliest: what is replayed has them anew.
cursors = Table(
    "webhook_cursors",
    METADATA,
    Column("endpoint_id", Id, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), primary_key=True),
    Column("meeting_id", Id, ForeignKey("meetings.id"), primary_key=True, index=True),
    Column("stream", String(64), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("since", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, index=True),
    Column("run", Id),
    Column("leased_until", UtcDateTime),
    CheckConstraint("seq >= 0", name="seq"),
)

# A row for each event that was sent to an endpoint, and for each test, which has no meeting and no number.
deliveries = Table(
    "webhook_deliveries",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("endpoint_id", Id, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("meeting_id", Id),
    Column("seq", BigInteger),
    Column("event", String(40), nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("response_status", Integer),
    Column("reason", String(200)),
    Column("duration_ms", Integer),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("last_attempt_at", UtcDateTime),
    CheckConstraint("state IN ('pending', 'retrying', 'delivered', 'failed', 'dead')", name="state"),
    UniqueConstraint("endpoint_id", "meeting_id", "seq"),
    Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send what, without its secrets."""

    id: str
    user_id: str
    meeting_id: str | None
    url: str
    events: tuple[str, ...]
    description: str | None
    is_enabled: bool
    previous_until: datetime | None
    failures: int
    failing_since: datetime | None
    open_until: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Endpoint":
        """Build an endpoint from a row of `endpoints`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__} | {"events": tuple(row.events)})
