"""Idempotency keys: the same request again gets the same answer and has no second effect (contract 1, promises P4).

The key's row is written in the transaction of the effect: either both are there or neither. While the first
transaction is open, a second one with the same key waits at the unique index, for LOCK_TIMEOUT_SECONDS at most.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy import Column, Integer, Row, String, Table, Text, bindparam, case, delete, exc, select, update

from shared.core.database import METADATA, LockTimeout, UtcDateTime, insert_for, translate
from shared.core.errors import IdempotencyInProgress, IdempotencyKeyReused
from shared.core.lists import one_of
from shared.core.rows import inserting
from shared.core.transaction import Transaction

KEEP = timedelta(hours=24)
MAX_KEY_LENGTH = 255

idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    Column("digest", String(64), primary_key=True),  # of caller, path and key
    Column("body_digest", String(64), nullable=False),
    Column("status", Integer),
    Column("answer", Text),  # encrypted: answers may hold tokens
    Column("created_at", UtcDateTime, nullable=False, index=True),
)


class KeyTaken(Exception):
    """A key was used before; what this transaction did was undone, and the answer is to be recalled."""


@dataclass(frozen=True, slots=True)
class Request:
    """What identifies a request: who, where, which key, and what was sent."""

    caller: str
    path: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer of the first request."""

    status: int
    body: bytes


def begin(tx: Transaction, request: Request) -> StoredAnswer | None:
    """Claim the key. Returns the stored answer when the request was done before, None when it is to be done now.

    Raises IdempotencyKeyReused (another body), IdempotencyInProgress (the first one is still running).
    """
    try:
        if _enter(tx, request):
            return None
    except exc.DBAPIError as broken:
        if isinstance(translate(broken), LockTimeout):
            raise IdempotencyInProgress from None
        raise
    row = _find(tx, request)
    assert row is not None
    try:
        return StoredAnswer(row.status, tx.keyring.decrypt(row.answer))
    except InvalidToken:  # SECRET_KEY was changed meanwhile; the effect is there, its answer cannot be read any more
        raise IdempotencyKeyReused("This Idempotency-Key was used before SECRET_KEY was changed.") from None


_FINISH = update(idempotency_keys).where(idempotency_keys.c.digest == bindparam("whose"))


def finish(tx: Transaction, request: Request, answer: StoredAnswer) -> None:
    """Store the answer, in the transaction of the effect."""
    tx.later(
        _FINISH,
        {"whose": _digest(tx, request), "status": answer.status, "answer": tx.keyring.encrypt(answer.body)},
    )


def keep(tx: Transaction, request: Request, answer: str) -> None:
    """Enter key and answer at once, with the commit. The answer holds no secret and is kept as it is.

    Cheaper than `begin` and `finish`, for what happens often and takes no time: a second request with the key does the
    work too, and is undone. `telling_keys` raises KeyTaken then; the caller asks `recall` in another transaction.
    """
    keep_all(tx, [(request, answer)])


def keep_all(tx: Transaction, kept: Sequence[tuple[Request, str]]) -> None:
    """Do as `keep` for several requests. Raises KeyTaken when one key stands here twice."""
    _keep(tx, [(request, None, answer) for request, answer in kept])


def finish_all(tx: Transaction, answers: Sequence[tuple[Request, StoredAnswer]]) -> None:
    """Enter keys and answers at once, with the commit: what `begin` and `finish` do for each. Else as `keep_all`."""
    _keep(tx, [(request, answer.status, tx.keyring.encrypt(answer.body)) for request, answer in answers])


@contextmanager
def telling_keys() -> Iterator[None]:
    """Raise KeyTaken when a transaction of this block has come to nothing because of a key that was used before."""
    try:
        yield
    except exc.IntegrityError as broken:
        if idempotency_keys.name in str(broken.orig).splitlines()[0]:  # what follows may be somebody's text
            raise KeyTaken from None
        raise


def is_in_work(held: LockTimeout) -> bool:
    """Tell whether what was waited for in vain is a request with the same key."""
    waited = held.__cause__
    return isinstance(waited, exc.DBAPIError) and idempotency_keys.name in str(waited.orig)


def used(tx: Transaction, requests: Collection[Request]) -> set[Request]:
    """Return those requests whose keys were used before."""
    digests = {_digest(tx, request): request for request in requests}
    return {digests[row.digest] for row in tx.all(_USED, {"digests": list(digests), "oldest": tx.now - KEEP})}


_USED = select(idempotency_keys.c.digest).where(
    one_of(idempotency_keys.c.digest, "digests"), idempotency_keys.c.created_at >= bindparam("oldest")
)


def _refuse_used(new: Any) -> Any:
    """Let an INSERT of keys take the place of old ones, and break off the transaction at any other: the digest of its
    body would become null, which it must not."""
    is_old = idempotency_keys.c.created_at < bindparam("oldest")
    return new.on_conflict_do_update(
        index_elements=["digest"],
        set_={
            "body_digest": case((is_old, new.excluded.body_digest)),
            **{name: new.excluded[name] for name in ("status", "answer", "created_at")},
        },
    )


def _keep(tx: Transaction, entries: Sequence[tuple[Request, int | None, str]]) -> None:
    """Insert keys, in their order: two who insert the same ones do not wait for each other in a circle."""
    rows = sorted((_row(tx, *entry) for entry in entries), key=lambda row: str(row["digest"]))
    if len({row["digest"] for row in rows}) < len(rows):
        raise KeyTaken
    if rows:
        tx.later(*inserting(tx.connection.dialect.name, idempotency_keys, rows, _refuse_used, ("oldest",)))


def _row(tx: Transaction, request: Request, status: int | None, answer: str | None) -> dict[str, Any]:
    return {
        "digest": _digest(tx, request),
        "body_digest": tx.keyring.digest("idempotency-body", request.body),
        "status": status,
        "answer": answer,
        "created_at": tx.now,
        "oldest": tx.now - KEEP,
    }


def recall(tx: Transaction, request: Request) -> str | None:
    """Return the answer that `keep` has kept, or None. Raises IdempotencyKeyReused (another body)."""
    row = _find(tx, request)
    return None if row is None else str(row.answer)


@cache
def _entering(dialect: str) -> Any:
    new = insert_for(dialect, idempotency_keys)
    return new.on_conflict_do_update(
        index_elements=["digest"],
        set_={name: new.excluded[name] for name in ("body_digest", "status", "answer", "created_at")},
        where=idempotency_keys.c.created_at < bindparam("oldest"),
    ).returning(idempotency_keys.c.digest)


def _enter(tx: Transaction, request: Request) -> bool:
    """Insert the key, in place of one that is older than 24 h. False when it is there."""
    return tx.scalar(_entering(tx.connection.dialect.name), _row(tx, request, None, None)) is not None


_FIND = select(idempotency_keys).where(
    idempotency_keys.c.digest == bindparam("digest"), idempotency_keys.c.created_at >= bindparam("oldest")
)


def _find(tx: Transaction, request: Request) -> Row[Any] | None:
    row = tx.first(_FIND, {"digest": _digest(tx, request), "oldest": tx.now - KEEP})
    if row is not None and row.body_digest != tx.keyring.digest("idempotency-body", request.body):
        raise IdempotencyKeyReused
    return row


def _digest(tx: Transaction, request: Request) -> str:
    return tx.keyring.digest("idempotency-key", request.caller, request.path, request.key)


def forget_expired(tx: Transaction, limit: int = 500) -> int:
    """Delete keys older than 24 h, at most `limit`. Returns how many."""
    old = select(idempotency_keys.c.digest).where(idempotency_keys.c.created_at < tx.now - KEEP).limit(limit)
    return tx.execute(delete(idempotency_keys).where(idempotency_keys.c.digest.in_(old))).rowcount
