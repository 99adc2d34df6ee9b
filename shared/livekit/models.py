"""The table of what LiveKit reported."""

from sqlalchemy import Column, Index, String, Table, Text

from shared.core.database import METADATA, UtcDateTime

# An inbox: stored before it is acknowledged, worked on afterwards. LiveKit repeats what was not acknowledged.
inbox = Table(
    "livekit_inbox",
    METADATA,
    Column("id", String(64), primary_key=True),  # LiveKit's id of the event
    Column("digest", String(64), nullable=False),  # SHA-256 of the body
    Column("type", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("handled_at", UtcDateTime),
    Index("ix_livekit_inbox_received_at", "received_at"),
)
