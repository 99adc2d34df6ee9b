"""Signs that one process leaves for others, in the database: a worker is alive, wake-ups were lost."""

from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, String, Table, select

from shared.core.database import METADATA, UtcDateTime, insert_into

WORKER = "worker"  # signed by a task: beat sends, the broker delivers, a worker works
WORKER_PROCESS = "worker-process"  # signed by the main process of a worker: it is there
WAKEUPS_LOST = "wakeups-lost"  # signed by a process that could not announce what it has committed
# Ten times as long as between two signs: tasks wait for each other, and that is no failure.
FRESH = timedelta(seconds=20)
# Signed each second by a thread that waits for nobody, so that a worker that is gone is told of within five (P28).
PROCESS_FRESH = timedelta(seconds=4)

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


def has_worker(connection: Connection, now: datetime) -> bool:
    """Tell whether work gets done, and a worker is there to do it. One of an older release does not sign the latter."""
    there = last_seen(connection, WORKER_PROCESS)
    return (there is None or now - there <= PROCESS_FRESH) and is_alive(connection, WORKER, now)
