"""API keys: how a server acts as a user, within some scopes, until the key is revoked (contract 2).

A key is `pk_`, 16 hexadecimal digits by which its row is found, `_`, and 256 random bits. Nobody can guess those, so a
plain SHA-256 of the whole is kept: who reads the database learns no key.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, or_, select, update

from shared.core.errors import NotFound, ValidationFailed
from shared.core.ids import is_id, new_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import TokenExpired, TokenRevoked, Unauthenticated
from shared.identity.models import api_keys, users
from shared.identity.scopes import Scope

MARK = "pk_"
_FORM = re.compile(r"(pk_[0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_NOBODYS = "0" * 64

# How exactly one can see when a key was used last: it is written this often at most.
USED_GRAIN = timedelta(minutes=10)
# A key that is over is remembered for so long: who still uses it is told what became of it.
KEEP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. `prefix` is its beginning, by which its owner knows it."""

    id: str
    user_id: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "ApiKey":
        """Build a key from a row of `api_keys`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__} | {"scopes": tuple(row.scopes)})


def create(
    tx: Transaction, user_id: str, name: str, scopes: Sequence[Scope], expires_at: datetime | None
) -> tuple[ApiKey, str]:
    """Make a key; return it, and the text to send as Bearer, which cannot be read again.

    Raises ValidationFailed when it would have expired already.
    """
    if expires_at is not None and expires_at <= tx.now:
        raise ValidationFailed(details={"expires_at": ["Must be in the future."]})
    prefix = MARK + secrets.token_hex(8)
    text = f"{prefix}_{secrets.token_urlsafe(32)}"
    row = tx.execute(
        api_keys.insert()
        .values(
            id=new_id(),
            user_id=user_id,
            name=name,
            prefix=prefix,
            digest=_digest(text),
            scopes=list(scopes),
            created_at=tx.now,
            expires_at=expires_at,
        )
        .returning(api_keys)
    ).one()
    return ApiKey.of(row), text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def keys_of(user_id: str, before_id: str | None, limit: int) -> Select[Any]:
    """Return the query for a user's keys that were not revoked, newest first."""
    query = (
        select(api_keys)
        .where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        .order_by(api_keys.c.id.desc())
        .limit(limit)
    )
    return query if before_id is None else query.where(api_keys.c.id < before_id)


def revoke(tx: Transaction, user_id: str, key_id: str) -> ApiKey:
    """End one of a user's keys: it works no more from this commit on. Safe to repeat. Raises NotFound."""
    row = None
    if is_id(key_id):
        row = tx.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.user_id == user_id)
            .values(revoked_at=func.coalesce(api_keys.c.revoked_at, tx.now))
            .returning(api_keys)
        ).one_or_none()
    if row is None:
        raise NotFound("There is no such API key.")
    return ApiKey.of(row)


_OWNED = select(api_keys, users.c.is_active, users.c.name.label("owner_name"), users.c.email).join(
    users, users.c.id == api_keys.c.user_id
)
_BY_PREFIX = _OWNED.where(api_keys.c.prefix == bindparam("prefix"))
_BY_ID = _OWNED.where(api_keys.c.id == bindparam("key_id"))


def get_key(tx: Transaction, text: str) -> ApiKey:
    """Return the key that was presented. Raises Unauthenticated (nobody's), TokenRevoked, TokenExpired."""
    form = _FORM.fullmatch(text)
    row = tx.first(_BY_PREFIX, {"prefix": form[1]}) if form else None
    is_right = hmac.compare_digest(_NOBODYS if row is None else row.digest, _digest(text))
    if row is None or not is_right:
        raise Unauthenticated("This is not a valid API key.")
    _check(tx, row)
    return ApiKey.of(row)


def get_owner(tx: Transaction, key_id: str) -> Actor:
    """Return the user whom a key acts for, as the database knows both now. Raises TokenRevoked, TokenExpired."""
    row = tx.first(_BY_ID, {"key_id": key_id})
    if row is None:
        raise TokenRevoked(_REVOKED)
    _check(tx, row)
    return Actor(name=row.owner_name, user_id=row.user_id, email=row.email)


_REVOKED = "The API key was revoked."


def _check(tx: Transaction, row: Row[Any]) -> None:
    if row.revoked_at is not None or not row.is_active:
        raise TokenRevoked(_REVOKED)
    if row.expires_at is not None and row.expires_at <= tx.now:
        raise TokenExpired("The API key has expired; make another one.")


def is_use_news(key: ApiKey, now: datetime) -> bool:
    """Tell whether `note_use` would write."""
    return key.last_used_at is None or key.last_used_at <= now - USED_GRAIN


def note_use(tx: Transaction, key_id: str) -> None:
    """Remember that a key is used now, unless that was remembered less than USED_GRAIN ago."""
    long_ago = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= tx.now - USED_GRAIN)
    tx.execute(update(api_keys).where(api_keys.c.id == key_id, long_ago).values(last_used_at=tx.now))


def forget_over(tx: Transaction, limit: int = 500) -> int:
    """Delete keys that were revoked, or expired, more than KEEP ago, at most `limit`. Returns how many."""
    long_ago = tx.now - KEEP
    old = (
        select(api_keys.c.id)
        .where((api_keys.c.revoked_at < long_ago) | (api_keys.c.expires_at < long_ago))
        .limit(limit)
    )
    return tx.execute(delete(api_keys).where(api_keys.c.id.in_(old))).rowcount
