"""Idempotency keys: the same request again gets the same answer and has no second effect (contract 1, promises P4).

The key's row is written in the transaction of the effect: either both are there or neither. While the first
transaction is open, a second one with the same key waits at the unique index, for LOCK_TIMEOUT_SECONDS at most.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy import Column, Integer, Row, String, Table, Text, bindparam, delete, exc, select, update

from shared.core.database import METADATA, LockTimeout, UtcDateTime, insert_for, translate
from shared.core.errors import IdempotencyInProgress, IdempotencyKeyReused
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
    """A key was used before; what this transaction did must be undone, and the answer recalled. `requests` are those
    whose keys they are, as far as that is known."""

    def __init__(self, requests: Collection["Request"] = ()) -> None:
        self.requests = requests


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
    tx.execute(
        _FINISH,
        {"whose": _digest(tx, request), "status": answer.status, "answer": tx.keyring.encrypt(answer.body)},
    )


def keep(tx: Transaction, request: Request, answer: str) -> None:
    """Enter key and answer at once, as the last step of the work. The answer holds no secret and is kept as it is.

    Cheaper than `begin` and `finish`, for what happens often and takes no time: a second request with the key does the
    work too, and is undone here. Raises KeyTaken then; the caller asks `recall` in another transaction.
    """
    if not _enter(tx, request, answer=answer):
        raise KeyTaken


def keep_all(tx: Transaction, kept: Sequence[tuple[Request, str]]) -> None:
    """Do as `keep` for several requests. Raises KeyTaken when any of the keys was used before, however long ago, or
    stands here twice."""
    _enter_all(tx, [(request, None, answer) for request, answer in kept])


def finish_all(tx: Transaction, answers: Sequence[tuple[Request, StoredAnswer]]) -> None:
    """Enter keys and answers at once, as the last step of the work: what `begin` and `finish` do for each.

    Raises KeyTaken as `keep_all`, and when another transaction keeps a key for too long.
    """
    try:
        _enter_all(tx, [(request, answer.status, tx.keyring.encrypt(answer.body)) for request, answer in answers])
    except exc.DBAPIError as broken:
        if isinstance(translate(broken), LockTimeout):
            raise KeyTaken([request for request, _ in answers]) from None
        raise


_NEW = {
    dialect: insert_for(dialect, idempotency_keys).on_conflict_do_nothing().returning(idempotency_keys.c.digest)
    for dialect in ("postgresql", "sqlite")
}


def _enter_all(tx: Transaction, entries: Sequence[tuple[Request, int | None, str]]) -> None:
    """Insert keys, in their order: two who insert the same ones do not wait for each other in a circle."""
    rows = {
        _digest(tx, request): {
            "body_digest": tx.keyring.digest("idempotency-body", request.body),
            "created_at": tx.now,
            "status": status,
            "answer": answer,
        }
        for request, status, answer in entries
    }
    if not entries:
        return
    values = [{"digest": digest, **row} for digest, row in sorted(rows.items())]
    found = tx.all(_NEW[tx.connection.dialect.name], values if len(values) > 1 else values[0])
    entered = {row.digest for row in found}
    if len(entered) < len(entries):
        raise KeyTaken([request for request, *_ in entries if _digest(tx, request) not in entered])


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


def _enter(tx: Transaction, request: Request, *, answer: str | None = None) -> bool:
    """Insert the key, in place of one that is older than 24 h. False when it is there."""
    fresh = {
        "digest": _digest(tx, request),
        "body_digest": tx.keyring.digest("idempotency-body", request.body),
        "status": None,
        "answer": answer,
        "created_at": tx.now,
        "oldest": tx.now - KEEP,
    }
    return tx.scalar(_entering(tx.connection.dialect.name), fresh) is not None


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
