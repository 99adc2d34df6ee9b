"""Endpoints: where somebody wants to be told, with which secret, and of what (contract 10).

An endpoint belongs to a user, and hears of the meetings that the user hosts, or of one of them alone. Its secret is
needed for signing, so it is kept encrypted (`keyring`), and shown when it is made.
"""

import base64
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, update

from shared.core.errors import ValidationFailed
from shared.core.ids import is_id, new_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.models import users
from shared.participants.membership import get_permitted
from shared.participants.permissions import WEBHOOKS_SUBSCRIBE
from shared.webhooks import cursors
from shared.webhooks.errors import WebhookLimitReached, WebhookNotFound
from shared.webhooks.jobs import SendTest
from shared.webhooks.kinds import TEST
from shared.webhooks.models import PENDING, Endpoint, deliveries, endpoints

MOST = 50  # endpoints of one user
BOTH_VALID = timedelta(hours=24)  # so long the secret before signs too
KEEP = timedelta(days=14)  # what became of an event is told so long


@dataclass(frozen=True, slots=True)
class EndpointWish:
    """A new endpoint; its `url` was judged."""

    url: str
    events: tuple[str, ...]
    description: str | None = None
    meeting_id: str | None = None


def create(tx: Transaction, actor: Actor, wish: EndpointWish) -> tuple[Endpoint, str]:
    """Make an endpoint; return it and its secret, which cannot be read again. It is told what happens from now on.

    Locks the user's row. Raises WebhookLimitReached; for one meeting, as `get_permitted` does.
    """
    if wish.meeting_id is not None:
        get_permitted(tx, wish.meeting_id, actor, WEBHOOKS_SUBSCRIBE)
    tx.execute(select(users.c.id).where(users.c.id == actor.user_id).with_for_update())
    count = tx.scalar(select(func.count()).select_from(endpoints).where(endpoints.c.user_id == actor.user_id))
    if count >= MOST:
        raise WebhookLimitReached(details={"limit": MOST})
    secret = _new_secret()
    row = tx.execute(
        endpoints.insert()
        .values(
            id=new_id(),
            user_id=actor.user_id,
            meeting_id=wish.meeting_id,
            url=wish.url,
            events=list(wish.events),
            description=wish.description,
            is_enabled=True,
            secret=tx.keyring.encrypt(secret.encode()),
            created_at=tx.now,
        )
        .returning(endpoints)
    ).one()
    endpoint = Endpoint.of(row)
    cursors.begin_for_endpoint(tx, endpoint)
    return endpoint, secret


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def endpoints_of(user_id: str, before_id: str | None, limit: int) -> Select[Any]:
    """Return the query for a user's endpoints, newest first."""
    query = select(endpoints).where(endpoints.c.user_id == user_id).order_by(endpoints.c.id.desc()).limit(limit)
    return query if before_id is None else query.where(endpoints.c.id < before_id)


def get_endpoint(tx: Transaction, actor: Actor, endpoint_id: str) -> Endpoint:
    """Return one of somebody's endpoints. Raises WebhookNotFound."""
    return Endpoint.of(_found(tx.first(_mine(actor, endpoint_id)) if is_id(endpoint_id) else None))


def _mine(actor: Actor, endpoint_id: str) -> Select[Any]:
    return select(endpoints).where(endpoints.c.id == endpoint_id, endpoints.c.user_id == actor.user_id)


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise WebhookNotFound
    return row


def lock_endpoint(tx: Transaction, actor: Actor, endpoint_id: str) -> Row[Any]:
    """Return the row of one of somebody's endpoints, locked. Raises WebhookNotFound.

    The lock lets others insert rows that refer to it: whoever sends holds a cursor while writing down a delivery.
    """
    mine = _mine(actor, endpoint_id).with_for_update(key_share=True)
    return _found(tx.first(mine) if is_id(endpoint_id) else None)


def change(tx: Transaction, actor: Actor, endpoint_id: str, changes: dict[str, Any]) -> Endpoint:
    """Change url, events, description, is_enabled. What is being sent goes on as it was for one event at most.

    Another url, and being enabled again, is a new beginning: nothing that failed counts, and what was not sent yet has
    24 hours from now on. Locks the endpoint. Raises WebhookNotFound.
    """
    before = lock_endpoint(tx, actor, endpoint_id)
    begins = changes.get("url", before.url) != before.url or (changes.get("is_enabled") and not before.is_enabled)
    if begins:
        changes = {**changes, "failures": 0, "failing_since": None, "open_until": None}
    if changes:
        tx.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(**changes))
        cursors.take_back(tx, endpoint_id, anew=bool(begins))
    return get_endpoint(tx, actor, endpoint_id)


def remove(tx: Transaction, actor: Actor, endpoint_id: str) -> Endpoint:
    """Delete an endpoint with all that is known of its deliveries. Locks it. Raises WebhookNotFound."""
    gone = Endpoint.of(lock_endpoint(tx, actor, endpoint_id))
    tx.execute(delete(endpoints).where(endpoints.c.id == endpoint_id))
    return gone


def rotate(tx: Transaction, actor: Actor, endpoint_id: str) -> tuple[Endpoint, str]:
    """Give an endpoint another secret and return it; the one before signs too for BOTH_VALID. Of three, two sign.

    Locks the endpoint. Raises WebhookNotFound.
    """
    before = lock_endpoint(tx, actor, endpoint_id)
    secret = _new_secret()
    tx.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id)
        .values(
            secret=tx.keyring.encrypt(secret.encode()),
            previous_secret=before.secret,
            previous_until=tx.now + BOTH_VALID,
        )
    )
    cursors.take_back(tx, endpoint_id, anew=False)
    return get_endpoint(tx, actor, endpoint_id), secret


def replay(tx: Transaction, actor: Actor, endpoint_id: str, meeting_id: str, from_seq: int) -> int:
    """Send an endpoint a meeting's events once more, from `from_seq` on, in order; return the last there is now.

    What happens meanwhile comes behind them. Locks the endpoint, and the stream of a meeting that is over. Raises
    WebhookNotFound, EventsArchived, ValidationFailed when the endpoint is for another meeting or there is no such
    event, and as `get_permitted`.
    """
    endpoint = Endpoint.of(lock_endpoint(tx, actor, endpoint_id))
    membership = get_permitted(tx, meeting_id, actor, WEBHOOKS_SUBSCRIBE)
    if endpoint.meeting_id not in (None, meeting_id):
        raise ValidationFailed(details={"meeting_id": ["This webhook is for another meeting."]})
    head = cursors.rewind(tx, endpoint_id, membership.meeting, from_seq)
    if head is None:
        raise ValidationFailed(details={"from_seq": ["There is no such event yet."]})
    return head


def fire_test(tx: Transaction, actor: Actor, endpoint_id: str) -> Row[Any]:
    """Have a test event sent, once, also when the endpoint is disabled; return the row that will tell of it.

    Locks the endpoint. Raises WebhookNotFound.
    """
    lock_endpoint(tx, actor, endpoint_id)
    row = tx.execute(
        deliveries.insert()
        .values(id=new_id(), endpoint_id=endpoint_id, event=TEST, state=PENDING, attempts=0, created_at=tx.now)
        .returning(deliveries)
    ).one()
    tx.enqueue(SendTest(delivery_id=row.id))
    return row


def deliveries_of(
    endpoint_id: str, meeting_id: str | None, state: str | None, before_id: str | None, limit: int
) -> Select[Any]:
    """Return the query for what became of an endpoint's events, those first that were first tried last."""
    query = select(deliveries).where(deliveries.c.endpoint_id == endpoint_id)
    if meeting_id is not None:
        query = query.where(deliveries.c.meeting_id == meeting_id)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if before_id is not None:
        query = query.where(deliveries.c.id < before_id)
    return query.order_by(deliveries.c.id.desc()).limit(limit)


def forget_old(tx: Transaction, limit: int = 500) -> int:
    """Delete what became of events more than KEEP ago, at most `limit`. Returns how many."""
    old = select(deliveries.c.id).where(deliveries.c.created_at < tx.now - KEEP).limit(limit)
    return tx.execute(delete(deliveries).where(deliveries.c.id.in_(old))).rowcount


def open_circuits(tx: Transaction) -> int:
    """Return how many endpoints are not sent to for now, because they fail again and again."""
    tripped = select(func.count()).where(endpoints.c.is_enabled, endpoints.c.open_until > tx.now)
    return int(tx.scalar(tripped))
