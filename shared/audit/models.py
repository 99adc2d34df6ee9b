"""Tables of the audit trail. The migration forbids UPDATE and DELETE of `audit_events` by triggers."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, String, Table, Text

from shared.core.database import METADATA, Id, UtcDateTime

DONE, REFUSED = "done", "refused"
OUTCOMES = (DONE, REFUSED)

audit_events = Table(
    "audit_events",
    METADATA,
    Column("meeting_id", Id, ForeignKey("meetings.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(40), nullable=False),
    Column("outcome", String(8), nullable=False),
    # Ids without foreign keys: a row says who it was, also when that place or account is gone one day.
    Column("actor_participant_id", Id),
    Column("actor_user_id", Id),
    Column("actor_name", String(100)),
    Column("target_participant_id", Id),
    Column("target_user_id", Id),
    Column("target_name", String(100)),
    Column("details", Text, nullable=False),  # JSON, as text: what was hashed must come back byte by byte
    Column("at", UtcDateTime, nullable=False),  # to the millisecond, as it is told
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    CheckConstraint("outcome IN ('done', 'refused')", name="outcome"),
    CheckConstraint("seq > 0", name="seq"),
)

# Where a chain ends. Whoever appends locks this row, so that no chain forks; and rows that are missing at the end are
# missed.
audit_heads = Table(
    "audit_heads",
    METADATA,
    Column("meeting_id", Id, ForeignKey("meetings.id"), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
