"""API keys at the door: what is sent as Bearer in place of a token (contract 2)."""

from contextlib import suppress
from datetime import UTC, datetime

from shared.core.database import TransactionConflict
from shared.core.errors import ServiceUnavailable
from shared.identity import api_keys
from web.http.runtime import current_runtime
from web.http.tokens import Claims

_NEVER = datetime(9000, 1, 1, tzinfo=UTC)


def is_key(text: str) -> bool:
    """Tell whether this says to be an API key."""
    return text.startswith(api_keys.MARK)


def read(text: str) -> Claims:
    """Return the claims of an API key: subject is its owner, reference the key.

    Looks into the database, before the request is counted: whose limits it counts against stands only there.
    Raises Unauthenticated, TokenRevoked, TokenExpired.
    """
    runtime = current_runtime()
    with runtime.reading() as tx:
        key = api_keys.get_key(tx, text)
    if api_keys.is_use_news(key, runtime.now()):
        # Nobody is refused because it could not be noted.
        with suppress(ServiceUnavailable, TransactionConflict), runtime.transaction() as tx:
            api_keys.note_use(tx, key.id)
    return Claims("key", key.user_id, key.id, key.id, key.expires_at or _NEVER, key.scopes)
