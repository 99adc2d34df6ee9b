"""Signs of life that only another process can give: a worker that runs tasks, a beat that sends them."""

from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, String, Table, select

from shared.core.database import METADATA, UtcDateTime, insert_into

WORKER = "worker"
FRESH = timedelta(seconds=20)

vitals = Table(
    "vitals", METADATA, Column("name", String(40), primary_key=True), Column("seen_at", UtcDateTime, nullable=False)
)


def sign(connection: Connection, name: str, now: datetime) -> None:
    """Leave a sign of life."""
    new = insert_into(connection, vitals).values(name=name, seen_at=now)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"seen_at": now}))


def is_alive(connection: Connection, name: str, now: datetime) -> bool:
    """Tell whether there was a sign of life lately."""
    seen: datetime | None = connection.execute(
        select(vitals.c.seen_at).where(vitals.c.name == name)
    ).scalar_one_or_none()
    return seen is not None and now - seen <= FRESH
