"""Every table of the product; importing this fills METADATA, which migrations compare with the database."""

from shared.audit import models as audit
from shared.chat import models as chat
from shared.core import idempotency, ledger, locks, outbox, tombstones, vitals
from shared.core.database import METADATA
from shared.identity import models as identity
from shared.jobs import models as jobs
from shared.livekit import models as livekit
from shared.meetings import models as meetings
from shared.participants import attempts, tickets
from shared.participants import models as participants
from shared.policies import models as policies
from shared.realtime import presence
from shared.webhooks import models as webhooks

__all__ = [
    "METADATA",
    "attempts",
    "audit",
    "chat",
    "idempotency",
    "identity",
    "jobs",
    "ledger",
    "livekit",
    "locks",
    "meetings",
    "outbox",
    "participants",
    "policies",
    "presence",
    "tickets",
    "tombstones",
    "vitals",
    "webhooks",
]
