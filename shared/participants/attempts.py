"""Wrong passcodes are counted (S34): a client may be wrong so often in a meeting, and then has to wait; and so does an
address from which many are wrong, for accounts cost nothing.

Counted in the database, in the transaction that looks at the passcode: exactly, by all processes together, and as long
as anybody can join at all. The row is locked from the first look at it, so that of many who come at once each sees
what the one before it did. It is locked before the meeting's row, never after it.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from limits import RateLimitItem, parse
from sqlalchemy import Column, Integer, String, Table, and_, case, delete, select, tuple_, update

from shared.core.database import METADATA, Id, UtcDateTime
from shared.core.errors import RateLimitExceeded
from shared.core.transaction import Transaction
from shared.realtime.envelope import timestamp

attempts = Table(
    "passcode_attempts",
    METADATA,
    Column("meeting_id", Id, primary_key=True),
    Column("client", String(64), primary_key=True),  # an id of somebody known, or a keyed digest of an address
    Column("failures", Integer, nullable=False),
    Column("began_at", UtcDateTime, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One passcode that may be looked at; by `clients` it is counted when it is wrong."""

    meeting_id: str
    clients: tuple[str, ...]


def claim(tx: Transaction, meeting_id: str, client: str, address: str | None) -> Claim:
    """Let a client at an address try one passcode. Locks the rows of both. Raises RateLimitExceeded.

    Without an address only the client counts: who has a place in the meeting is one of few, and must not be locked out
    by strangers behind the same address.
    """
    limits = {client: parse(tx.settings.ratelimit_passcode)}
    if address is not None:
        limits[address] = parse(tx.settings.ratelimit_passcode_address)
    for one in sorted(limits):  # in one order, or two who come at once could wait for each other
        _claim(tx, meeting_id, one, limits[one])
    return Claim(meeting_id, tuple(sorted(limits)))


def _claim(tx: Transaction, meeting_id: str, client: str, limit: RateLimitItem) -> None:
    window = timedelta(seconds=limit.get_expiry())
    new = tx.insert(attempts).values(meeting_id=meeting_id, client=client, failures=0, began_at=tx.now)
    is_over = attempts.c.began_at <= tx.now - window
    begin_anew = {
        "failures": case((is_over, 0), else_=attempts.c.failures),
        "began_at": case((is_over, new.excluded.began_at), else_=attempts.c.began_at),
    }
    row = tx.execute(
        new.on_conflict_do_update(index_elements=["meeting_id", "client"], set_=begin_anew).returning(
            attempts.c.failures, attempts.c.began_at
        )
    ).one()
    if row.failures >= limit.amount:
        reset_at = row.began_at + window
        raise RateLimitExceeded(
            "Too many wrong passcodes; try again later.",
            details={"limit": limit.amount, "window": limit.get_expiry(), "reset_at": timestamp(reset_at)},
            retry_after_seconds=max(1, math.ceil((reset_at - tx.now).total_seconds())),
        )


def count_failure(tx: Transaction, tried: Claim) -> None:
    """Count a passcode that was wrong. It counts once the transaction commits."""
    mine = and_(attempts.c.meeting_id == tried.meeting_id, attempts.c.client.in_(tried.clients))
    tx.execute(update(attempts).where(mine).values(failures=attempts.c.failures + 1))


def forget_expired(tx: Transaction, limit: int = 500) -> int:
    """Delete counts whose window is over, at most `limit`. Returns how many."""
    key = tuple_(attempts.c.meeting_id, attempts.c.client)
    limits = (tx.settings.ratelimit_passcode, tx.settings.ratelimit_passcode_address)
    longest = max(parse(limit).get_expiry() for limit in limits)
    cutoff = tx.now - timedelta(seconds=longest)
    old = select(attempts.c.meeting_id, attempts.c.client).where(attempts.c.began_at <= cutoff).limit(limit)
    # Who begins anew may have one of somebody's rows, and want the other.
    old = old.with_for_update(skip_locked=True)
    return tx.execute(delete(attempts).where(key.in_(old))).rowcount
