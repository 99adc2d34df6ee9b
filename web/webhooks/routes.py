"""Doors of outgoing webhooks (contract 10): each sees and changes their own."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.errors import InsufficientPermission, ValidationFailed
from shared.core.tombstones import EventsArchived
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.participants.permissions import WEBHOOKS_MANAGE
from shared.webhooks import addresses, endpoints
from shared.webhooks.endpoints import EndpointWish
from shared.webhooks.errors import WebhookLimitReached, WebhookNotFound
from shared.webhooks.models import Endpoint
from web.http.door import door
from web.http.pagination import cut, decode_cursor, encode_cursor, pagination
from web.http.reply import Reply
from web.http.runtime import current_runtime
from web.http.schema import Paging
from web.webhooks.schemas import (
    DeliveriesQuery,
    DeliveryView,
    NewSecret,
    ReplayRequest,
    ReplayView,
    WebhookChange,
    WebhookRequest,
    WebhookView,
)

blueprint = Blueprint(
    "webhooks", __name__, url_prefix="/api/v1/webhooks", description="What happens, told to your server"
)


def _judge_url(wanted: dict[str, Any]) -> dict[str, Any]:
    """Look a URL up before the transaction begins. Raises ValidationFailed."""
    settings = current_runtime().settings
    if "url" in wanted:
        try:
            addresses.check(wanted["url"], private=settings.webhook_allow_private)
        except addresses.NotAllowed as refused:
            raise ValidationFailed(details={"url": [str(refused)]}) from None
        is_open = not wanted["url"].lower().startswith("https:")
        if settings.is_production and is_open and not settings.webhook_allow_private:
            raise ValidationFailed(details={"url": ["Must begin with https://."]})
    return wanted


def _view(endpoint: Endpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in Endpoint.__slots__} | {
        "webhook_id": endpoint.id,
        "next_attempt_at": endpoint.open_until,
        "previous_secret_until": endpoint.previous_until,
    }


@door(
    blueprint,
    "POST",
    "",
    permission=WEBHOOKS_MANAGE,
    who="user",
    takes=WebhookRequest(),
    gives=NewSecret(),
    status=201,
    limit="meetings",
    prepare=_judge_url,
    message="Keep the secret well: it is shown only now.",
    refusals=(WebhookLimitReached, MeetingNotFound, InsufficientPermission),
)
def create_webhook(tx: Transaction, actor: Actor, events: list[str], **wanted: Any) -> dict[str, Any]:
    """Create a webhook

    From now on each of these events, of the meetings that you host or of one of them, is sent as a POST with the body
    `{event, meeting_id, seq, data, timestamp}`, signed as Standard Webhooks say: at least once, and in the order of
    `seq` for each meeting. What is not answered with 2xx within ten seconds is sent again after 5 s, 10 s, 20 s … one
    hour, for 24 hours. `webhook-id` is the same whenever the same event is sent.

    Not told are private messages, and what only hosts hear.
    """
    endpoint, secret = endpoints.create(tx, actor, EndpointWish(events=tuple(events), **wanted))
    return {**_view(endpoint), "secret": secret}


@door(blueprint, "GET", "", permission=WEBHOOKS_MANAGE, who="user", query=Paging(), gives=WebhookView(), many=True)
def list_webhooks(tx: Transaction, actor: Actor, limit: int, cursor: str | None) -> Reply:
    """List your webhooks, newest first"""
    before = decode_cursor(cursor, 1)[0] if cursor else None
    found = [Endpoint.of(row) for row in tx.all(endpoints.endpoints_of(actor.key, before, limit + 1))]
    page, more = cut(found, limit)
    following = encode_cursor(page[-1].id) if more else None
    return Reply([_view(one) for one in page], pagination=pagination(limit, following))


@door(
    blueprint,
    "GET",
    "/<webhook_id>",
    permission=WEBHOOKS_MANAGE,
    who="user",
    gives=WebhookView(),
    refusals=(WebhookNotFound,),
)
def read_webhook(tx: Transaction, actor: Actor, webhook_id: str) -> dict[str, Any]:
    """Read a webhook; its secret is never shown again"""
    return _view(endpoints.get_endpoint(tx, actor, webhook_id))


@door(
    blueprint,
    "PATCH",
    "/<webhook_id>",
    permission=WEBHOOKS_MANAGE,
    who="user",
    takes=WebhookChange(),
    gives=WebhookView(),
    limit="meetings",
    prepare=_judge_url,
    message="Changed.",
    refusals=(WebhookNotFound,),
)
def change_webhook(tx: Transaction, actor: Actor, webhook_id: str, **changes: Any) -> dict[str, Any]:
    """Change a webhook, or switch it off and on

    Switched on again it goes on where it was: nothing that happened meanwhile is lost. `events` holds for all that was
    not sent yet.
    """
    return _view(endpoints.change(tx, actor, webhook_id, changes))


@door(
    blueprint,
    "DELETE",
    "/<webhook_id>",
    permission=WEBHOOKS_MANAGE,
    who="user",
    gives=WebhookView(),
    limit="meetings",
    message="Deleted.",
    refusals=(WebhookNotFound,),
)
def delete_webhook(tx: Transaction, actor: Actor, webhook_id: str) -> dict[str, Any]:
    """Delete a webhook, with all that is known of its deliveries"""
    return _view(endpoints.remove(tx, actor, webhook_id))


@door(
    blueprint,
    "POST",
    "/<webhook_id>/rotate-secret",
    permission=WEBHOOKS_MANAGE,
    who="user",
    gives=NewSecret(),
    limit="meetings",
    message="Keep the secret well: it is shown only now.",
    refusals=(WebhookNotFound,),
)
def rotate_secret(tx: Transaction, actor: Actor, webhook_id: str) -> dict[str, Any]:
    """Give a webhook another secret

    For 24 hours `webhook-signature` holds two signatures, of the new secret and of the one before: a receiver that
    knows either takes what is sent.
    """
    endpoint, secret = endpoints.rotate(tx, actor, webhook_id)
    return {**_view(endpoint), "secret": secret}


@door(
    blueprint,
    "GET",
    "/<webhook_id>/deliveries",
    permission=WEBHOOKS_MANAGE,
    who="user",
    query=DeliveriesQuery(),
    gives=DeliveryView(),
    many=True,
    refusals=(WebhookNotFound,),
)
def list_deliveries(
    tx: Transaction,
    actor: Actor,
    webhook_id: str,
    limit: int,
    cursor: str | None,
    meeting_id: str | None,
    state: str | None,
) -> Reply:
    """List what became of a webhook's events, newest first; for 14 days

    `pending` a test that was not sent yet, `retrying` not taken so far, `delivered`, `failed` a test that was not
    taken, `dead` not taken within 24 hours: it can be sent again with a replay. What a receiver answers is not kept.
    """
    endpoints.get_endpoint(tx, actor, webhook_id)
    before = decode_cursor(cursor, 1)[0] if cursor else None
    query = endpoints.deliveries_of(webhook_id, meeting_id, state, before, limit + 1)
    page, more = cut(tx.all(query), limit)
    following = encode_cursor(page[-1].id) if more else None
    return Reply([_delivery(row) for row in page], pagination=pagination(limit, following))


def _delivery(row: Any) -> dict[str, Any]:
    return {**row._mapping, "delivery_id": row.id, "webhook_id": row.endpoint_id}


@door(
    blueprint,
    "POST",
    "/<webhook_id>/replay",
    permission=WEBHOOKS_MANAGE,
    who="user",
    takes=ReplayRequest(),
    gives=ReplayView(),
    status=202,
    limit="meetings",
    message="It will be sent again.",
    refusals=(WebhookNotFound, MeetingNotFound, InsufficientPermission, EventsArchived),
)
def replay_webhook(tx: Transaction, actor: Actor, webhook_id: str, meeting_id: str, from_seq: int) -> dict[str, Any]:
    """Send a meeting's events to a webhook once more, from one on

    In order, with the same `webhook-id` as before, as far as the webhook is told of them; what happens meanwhile comes
    behind them. Events of before the webhook was made can be sent so too; those that were archived cannot.
    """
    to_seq = endpoints.replay(tx, actor, webhook_id, meeting_id, from_seq)
    return {"webhook_id": webhook_id, "meeting_id": meeting_id, "from_seq": from_seq, "to_seq": to_seq}


@door(
    blueprint,
    "POST",
    "/<webhook_id>/test",
    permission=WEBHOOKS_MANAGE,
    who="user",
    gives=DeliveryView(),
    status=202,
    limit="meetings",
    message="It will be sent.",
    refusals=(WebhookNotFound,),
)
def fire_test(tx: Transaction, actor: Actor, webhook_id: str) -> dict[str, Any]:
    """Send a webhook a test event

    `webhook.test`, signed as all are, once; `meeting_id` and `seq` are null. The list of deliveries tells what
    came of it.
    """
    return _delivery(endpoints.fire_test(tx, actor, webhook_id))
