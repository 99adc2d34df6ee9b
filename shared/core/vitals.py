"""Signs that one process leaves for others, in the database: a worker is alive, wake-ups were lost."""

from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, String, Table, select

from shared.core.database import METADATA, UtcDateTime, insert_into

WORKER = "worker"
WAKEUPS_LOST = "wakeups-lost"  # signed by a process that could not announce what it has committed
FRESH = timedelta(seconds=20)

vitals = Table(
    "vitals", METADATA, Column("name", String(40), primary_key=True), Column("seen_at", UtcDateTime, nullable=False)
)


def sign(connection: Connection, name: str, now: datetime) -> None:
    """Leave a sign of life."""
    new = insert_into(connection, vitals).values(name=name, seen_at=now)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"seen_at": now}))


def last_seen(connection: Connection, name: str) -> datetime | None:
    """Return when the last sign was left; None when there was none."""
    seen: datetime | None = connection.execute(
        select(vitals.c.seen_at).where(vitals.c.name == name)
    ).scalar_one_or_none()
    return seen


def is_alive(connection: Connection, name: str, now: datetime) -> bool:
    """Tell whether there was a sign of life lately."""
    seen = last_seen(connection, name)
    return seen is not None and now - seen <= FRESH
