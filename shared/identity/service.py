"""Accounts and sessions. Tokens themselves are the web's business: here is what they refer to."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, delete, exc, select, update

from shared.core.ids import new_id
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import EmailTaken, InvalidCredentials, TokenRevoked
from shared.identity.events import UserRegistered
from shared.identity.models import refresh_tokens, sessions, users
from shared.realtime import orders


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was just opened or refreshed, with the id its next refresh token must carry."""

    user_id: str
    email: str
    name: str
    session_id: str
    refresh_id: str


def register(tx: Transaction, email: str, name: str, password_hash: str) -> Session:
    """Make an account and open its first session. Emits UserRegistered. Raises EmailTaken."""
    user_id = new_id()
    try:
        tx.execute(
            users.insert().values(
                id=user_id,
                email=email.lower(),
                name=name,
                password_hash=password_hash,
                is_active=True,
                created_at=tx.now,
            )
        )
    except exc.IntegrityError:
        raise EmailTaken from None
    tx.emit(UserRegistered(user_id=user_id, email=email.lower(), name=name))
    return _open(tx, user_id, email.lower(), name)


def password_hash_of(tx: Transaction, email: str) -> str | None:
    """Return the stored hash of an active account, or None."""
    hashed = tx.scalar(select(users.c.password_hash).where(users.c.email == email.lower(), users.c.is_active))
    return None if hashed is None else str(hashed)


def open_session(tx: Transaction, email: str) -> Session:
    """Open a session for an account whose password was just checked. Raises InvalidCredentials when it is gone."""
    row = tx.first(
        select(users.c.id, users.c.email, users.c.name).where(users.c.email == email.lower(), users.c.is_active)
    )
    if row is None:
        raise InvalidCredentials
    return _open(tx, row.id, row.email, row.name)


def _open(tx: Transaction, user_id: str, email: str, name: str) -> Session:
    session_id = new_id()
    tx.execute(sessions.insert().values(id=session_id, user_id=user_id, created_at=tx.now, expires_at=_session_end(tx)))
    return Session(user_id, email, name, session_id, _new_refresh_id(tx, session_id))


def _session_end(tx: Transaction) -> object:
    return tx.now + timedelta(seconds=tx.settings.refresh_token_ttl)


def _new_refresh_id(tx: Transaction, session_id: str) -> str:
    refresh_id = new_id()
    tx.execute(refresh_tokens.insert().values(id=refresh_id, session_id=session_id, created_at=tx.now))
    return refresh_id


def refresh(tx: Transaction, session_id: str, refresh_id: str) -> Session | None:
    """Use a refresh token once and return the session with its next one.

    Returns None, with the session revoked, when this refresh token had been used before: two holders have it, and one
    of them stole it. The caller commits, and then refuses. Raises TokenRevoked when the session is over.
    """
    actor = find_actor(tx, session_id)
    if actor is None or actor.user_id is None:
        raise TokenRevoked
    used = tx.execute(
        update(refresh_tokens)
        .where(
            refresh_tokens.c.id == refresh_id,
            refresh_tokens.c.session_id == session_id,
            refresh_tokens.c.used_at.is_(None),
        )
        .values(used_at=tx.now)
    )
    if used.rowcount == 0:
        revoke(tx, session_id, "refresh token used twice")
        return None
    tx.execute(update(sessions).where(sessions.c.id == session_id).values(expires_at=_session_end(tx)))
    return Session(actor.user_id, actor.email or "", actor.name, session_id, _new_refresh_id(tx, session_id))


def revoke(tx: Transaction, session_id: str, why: str) -> None:
    """End a session: all of its tokens are dead from this commit on. Safe to repeat."""
    tx.execute(
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=tx.now, revoked_why=why)
    )
    tx.order(orders.end_session(session_id))


_IS_VALID = (
    one_of(sessions.c.id, "sessions"),
    sessions.c.revoked_at.is_(None),
    sessions.c.expires_at > bindparam("now"),
    users.c.is_active,
)
_VALID = select(sessions.c.id).join(users, sessions.c.user_id == users.c.id).where(*_IS_VALID)
_ACTORS = (
    select(sessions.c.id.label("session_id"), users.c.id, users.c.email, users.c.name)
    .join(sessions, sessions.c.user_id == users.c.id)
    .where(*_IS_VALID)
)


def find_actors(tx: Transaction, session_ids: Collection[str]) -> dict[str, Actor]:
    """Return the users of those of the sessions that are still valid, by session."""
    if not session_ids:
        return {}
    return {
        row.session_id: Actor(name=row.name, user_id=row.id, email=row.email, session_id=row.session_id)
        for row in tx.all(_ACTORS, {"sessions": list(session_ids), "now": tx.now})
    }


def find_actor(tx: Transaction, session_id: str) -> Actor | None:
    """Return the user of a session that is still valid, or None."""
    return find_actors(tx, [session_id]).get(session_id)


def find_user(tx: Transaction, user_id: str) -> Actor | None:
    """Return a user by id, without a session, or None."""
    row = tx.first(select(users.c.id, users.c.name, users.c.email).where(users.c.id == user_id))
    return None if row is None else Actor(name=row.name, user_id=row.id, email=row.email)


def ended_sessions(tx: Transaction, session_ids: Collection[str]) -> set[str]:
    """Return which of the sessions are over: revoked, expired, or of an account that was closed."""
    if not session_ids:
        return set()
    return {*session_ids} - {row.id for row in tx.all(_VALID, {"sessions": list(session_ids), "now": tx.now})}


def forget_expired(tx: Transaction, limit: int = 500) -> int:
    """Delete sessions that ended more than a day ago, with their tokens, at most `limit`. Returns how many."""
    long_ago = tx.now - timedelta(days=1)
    old = (
        select(sessions.c.id)
        .where((sessions.c.expires_at < long_ago) | (sessions.c.revoked_at < long_ago))
        .limit(limit)
    )
    return tx.execute(delete(sessions).where(sessions.c.id.in_(old))).rowcount


def forget_used_tokens(tx: Transaction, limit: int = 500) -> int:
    """Delete refresh tokens that were used, and have expired since, at most `limit`. Returns how many.

    Until then a used one must be known: whoever sends it has stolen it, or was stolen from.
    """
    long_ago = tx.now - timedelta(seconds=tx.settings.refresh_token_ttl)
    old = select(refresh_tokens.c.id).where(refresh_tokens.c.used_at < long_ago).limit(limit)
    return tx.execute(delete(refresh_tokens).where(refresh_tokens.c.id.in_(old))).rowcount
