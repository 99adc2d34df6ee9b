"""Doors of API keys (contract 2): for people; a key cannot make, see or end keys."""

from datetime import datetime
from typing import Any

from flask_smorest import Blueprint

from shared.core.errors import NotFound
from shared.core.transaction import Transaction
from shared.identity import api_keys
from shared.identity.actor import Actor
from shared.identity.api_keys import ApiKey
from shared.identity.scopes import Scope
from web.http.door import door
from web.http.pagination import cut, decode_cursor, encode_cursor, pagination
from web.http.reply import Reply
from web.http.schema import Paging
from web.identity.schemas import ApiKeyRequest, ApiKeyView, NewApiKey

blueprint = Blueprint(
    "api-keys", __name__, url_prefix="/api/v1/api-keys", description="Keys with which servers act as you"
)


@door(
    blueprint,
    "POST",
    "",
    permission=None,
    who="user",
    takes=ApiKeyRequest(),
    gives=NewApiKey(),
    status=201,
    limit="meetings",
    message="Keep the key well: it is shown only now.",
)
def create_key(
    tx: Transaction, actor: Actor, name: str, scopes: list[Scope], expires_at: datetime | None
) -> dict[str, Any]:
    """Make an API key

    `key` is shown only now; with the same `Idempotency-Key` the answer can be had again for 24 hours, and is kept
    encrypted for that. Send it as `Authorization: Bearer pk_…`: it acts as you, in what its scopes cover, and counts
    against your rate limits. It opens no WebSocket.
    """
    key, text = api_keys.create(tx, actor.key, name, scopes, expires_at)
    return {**_view(key), "key": text}


def _view(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in ApiKey.__slots__} | {"api_key_id": key.id}


@door(blueprint, "GET", "", permission=None, who="user", query=Paging(), gives=ApiKeyView(), many=True)
def list_keys(tx: Transaction, actor: Actor, limit: int, cursor: str | None) -> Reply:
    """List your API keys, newest first

    Those that were revoked are not among them. A key itself is never shown again; its `prefix` is how it begins.
    """
    before = decode_cursor(cursor, 1)[0] if cursor else None
    page, more = cut([ApiKey.of(row) for row in tx.all(api_keys.keys_of(actor.key, before, limit + 1))], limit)
    following = encode_cursor(page[-1].id) if more else None
    return Reply([_view(key) for key in page], pagination=pagination(limit, following))


@door(
    blueprint,
    "DELETE",
    "/<api_key_id>",
    permission=None,
    who="user",
    gives=ApiKeyView(),
    limit="meetings",
    message="Revoked.",
    refusals=(NotFound,),
)
def revoke_key(tx: Transaction, actor: Actor, api_key_id: str) -> dict[str, Any]:
    """Revoke an API key: it stops working at once"""
    return _view(api_keys.revoke(tx, actor.key, api_key_id))
