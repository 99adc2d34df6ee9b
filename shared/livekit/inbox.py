"""The inbox of LiveKit's events: each is stored once and worked on once (promises P17)."""

import hmac
from datetime import timedelta

from sqlalchemy import delete, select, update

from shared.core.transaction import Transaction
from shared.livekit.events import LiveKitReported
from shared.livekit.jobs import HandleEvent
from shared.livekit.models import inbox
from shared.livekit.webhooks import NotFromLiveKit, Report, read

KEEP = timedelta(hours=24)  # what was signed can be sent again for five minutes


def receive(tx: Transaction, report: Report) -> None:
    """Store an event and have it worked on; one that is there already is left alone.

    Raises NotFromLiveKit when an event of this id said something else.
    """
    stored = tx.first(
        tx.insert(inbox)
        .values(id=report.id, digest=report.digest, type=report.type, body=report.body, received_at=tx.now)
        .on_conflict_do_nothing()
        .returning(inbox.c.id)
    )
    if stored is not None:
        tx.enqueue(HandleEvent(event_id=report.id))
        return
    known = tx.scalar(select(inbox.c.digest).where(inbox.c.id == report.id))
    if known is not None and not hmac.compare_digest(known, report.digest):
        raise NotFromLiveKit("an event of this id said something else")


def handle(tx: Transaction, event_id: str) -> None:
    """Work on a stored event, once. Emits LiveKitReported; of a type that nobody listens to nothing follows."""
    body = tx.scalar(
        update(inbox)
        .where(inbox.c.id == event_id, inbox.c.handled_at.is_(None))
        .values(handled_at=tx.now)
        .returning(inbox.c.body)
    )
    if body is not None:
        tx.emit(LiveKitReported(report=read(body.encode())))


def forget_old(tx: Transaction, limit: int = 500) -> int:
    """Delete events that nobody can send again, at most `limit`. Returns how many."""
    old = select(inbox.c.id).where(inbox.c.received_at <= tx.now - KEEP).limit(limit)
    return tx.execute(delete(inbox).where(inbox.c.id.in_(old))).rowcount
