"""Leases: at most one holder at a time, kept in the database, for work that must not run twice in one period."""

from datetime import timedelta

from sqlalchemy import Column, String, Table, delete, select

from shared.core.database import METADATA, UtcDateTime
from shared.core.transaction import Transaction

KEEP = timedelta(days=1)

leases = Table(
    "leases", METADATA, Column("name", String(80), primary_key=True), Column("until", UtcDateTime, nullable=False)
)


def take(tx: Transaction, name: str, seconds: float) -> bool:
    """Take the lease `name` for `seconds`. False when somebody holds it; its row is locked until the commit."""
    wanted = tx.insert(leases).values(name=name, until=tx.now + timedelta(seconds=seconds))
    statement = wanted.on_conflict_do_update(
        index_elements=["name"], set_={"until": wanted.excluded.until}, where=leases.c.until <= tx.now
    ).returning(leases.c.name)
    return tx.scalar(statement) is not None


def forget_over(tx: Transaction, limit: int = 500) -> int:
    """Delete leases that were over a day ago, at most `limit`: nobody asks for them by that name. Returns how many."""
    old = select(leases.c.name).where(leases.c.until < tx.now - KEEP).limit(limit)
    return tx.execute(delete(leases).where(leases.c.name.in_(old), leases.c.until < tx.now - KEEP)).rowcount
