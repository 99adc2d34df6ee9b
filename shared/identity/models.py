"""Tables of identity: people, their sessions, the refresh tokens of a session, their API keys."""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, String, Table

from shared.core.database import METADATA, Id, Json, UtcDateTime

users = Table(
    "users",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("is_active", Boolean, nullable=False, default=True),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("email = lower(email)", name="email_lower"),
)

# A session is a family of refresh tokens: they replace each other, and when one is used twice the family dies.
sessions = Table(
    "sessions",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("revoked_at", UtcDateTime),
    Column("revoked_why", String(40)),
)

refresh_tokens = Table(
    "refresh_tokens",
    METADATA,
    Column("id", Id, primary_key=True),  # the token's jti
    Column("session_id", Id, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, index=True),
)

# Keys of servers, which act as their owner. `prefix` is the public beginning, `digest` the SHA-256 of the whole key.
api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("prefix", String(24), nullable=False, unique=True),
    Column("digest", String(64), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
    Column("expires_at", UtcDateTime, index=True),
    Column("revoked_at", UtcDateTime, index=True),
    CheckConstraint("expires_at IS NULL OR expires_at > created_at", name="order"),
)
