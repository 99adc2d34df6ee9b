"""Leases: at most one holder at a time, kept in the database, for work that must not run twice in one period."""

from datetime import timedelta

from sqlalchemy import Column, String, Table

from shared.core.database import METADATA, UtcDateTime
from shared.core.transaction import Transaction

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
