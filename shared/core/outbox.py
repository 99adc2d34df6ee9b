"""The outbox: jobs that were decided in a transaction and must run, whatever dies (promises 1.1, item 8).

A row is written with the change it follows from. It is sent to Celery after the commit at the earliest; a row that is
still pending when its `next_at` comes (the broker was down, the worker died, Redis forgot) is sent again by beat's
relay. The message carries only the row's id: the worker reads the payload here, so a forged message can do nothing.

    pending --claim--> running --finish--> done
                               --fail----> pending (later), and after MAX_ATTEMPTS dead
                               --lease over, or the message is delivered again--> running (the worker is gone)
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    case,
    delete,
    func,
    literal,
    select,
    update,
)

from shared.core import tracing
from shared.core.database import METADATA, Id, Json, UtcDateTime
from shared.core.messages import Job
from shared.core.rows import insert_rows
from shared.core.tracing import Cause

outbox = Table(
    "outbox",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("name", String(80), nullable=False),
    Column("lane", String(20), nullable=False),
    Column("payload", Json, nullable=False),
    Column("state", String(10), nullable=False, default="pending"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("error", Text),
    Column("request_id", String(128)),  # of the request that decided it, see shared.core.tracing
    Column("trace", String(55)),
    CheckConstraint("state IN ('pending', 'running', 'done', 'dead')", name="state"),
    Index("ix_outbox_state_next_at", "state", "next_at"),
)

MAX_ATTEMPTS = 5
FIRST_RELAY_SECONDS = 10  # the direct road has this long before beat sends a second message
LONGEST_RETRY_SECONDS = 20.0  # the pause before the last attempt: 2 ** 4, and a quarter
LEASE_SECONDS = 95  # longer than a task may run (task_time_limit 90)
OLDEST_OF = 10_000  # health asks: it must be answered at once also when jobs have piled up
KEEP_DONE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Errand:
    """A job on its way: the row's id, the task's name and the queue. Which worker runs it is the broker's business."""

    id: str
    name: str
    lane: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that this worker may work on now."""

    id: str
    name: str
    payload: dict[str, Any]
    attempt: int
    waited_seconds: float  # since the job was decided
    cause: Cause


def write(connection: Connection, jobs: Mapping[str, Job], now: datetime) -> list[Errand]:
    """Insert a row per job, under the ids given, and return what is to be sent after the commit."""
    cause = tracing.cause()
    rows = [
        {
            "id": id_,
            "name": job.name,
            "lane": job.lane,
            "payload": job.payload(),
            "state": "pending",
            "attempts": 0,
            "next_at": now + timedelta(seconds=FIRST_RELAY_SECONDS),
            "created_at": now,
            "request_id": cause.request_id,
            "trace": cause.trace,
        }
        for id_, job in jobs.items()
    ]
    insert_rows(connection, outbox, rows)
    return [Errand(str(row["id"]), str(row["name"]), str(row["lane"])) for row in rows]


def claim(connection: Connection, row_id: str, name: str, now: datetime, *, redelivered: bool = False) -> Claim | None:
    """Take a pending row of the task `name` for one lease.

    None when it is done, dead, unknown, another task's or in another worker's hands. `redelivered` says that the
    broker gives out a message once more: whoever had it is dead, and its lease need not be waited for.

    Counts the attempt before the work starts, so that a task that kills its worker is bounded too.
    """
    is_orphan = outbox.c.state == "running"
    if not redelivered:
        is_orphan &= outbox.c.next_at <= now
    row = connection.execute(
        update(outbox)
        .where(outbox.c.id == row_id, outbox.c.name == name, (outbox.c.state == "pending") | is_orphan)
        .values(state="running", attempts=outbox.c.attempts + 1, next_at=now + timedelta(seconds=LEASE_SECONDS))
        .returning(outbox)
    ).one_or_none()
    if row is None:
        return None
    if row.attempts > MAX_ATTEMPTS:  # no further attempt: none of those before came to an end
        _bury(connection, row_id, "gave up: the work never came to an end", now)
        return None
    waited = max(0.0, (now - row.created_at).total_seconds())
    return Claim(row.id, row.name, row.payload, row.attempts, waited, Cause(row.request_id, row.trace))


def finish(connection: Connection, row_id: str, now: datetime) -> bool:
    """Mark a row done. False when it already was: then the caller's transaction must not have its effect again."""
    done = connection.execute(
        update(outbox)
        .where(outbox.c.id == row_id, outbox.c.state == "running")
        .values(state="done", finished_at=now, error=None)
    )
    return bool(done.rowcount == 1)


def fail(connection: Connection, claimed: Claim, why: str, now: datetime) -> bool:
    """Put a row back for later, or bury it after MAX_ATTEMPTS. Returns whether it will be tried again.

    Later is after 2, 4, 8, 16 s and up to a quarter more, so that what failed together does not come again together.

    Changes nothing when the claim is no longer good: the work was done meanwhile, or another worker has it.
    """
    again = claimed.attempt < MAX_ATTEMPTS
    spread = random.uniform(1.0, 1.25)  # noqa: S311  spreads load, keeps no secret
    delay = timedelta(seconds=min(2.0**claimed.attempt * spread, LONGEST_RETRY_SECONDS))
    change = {"state": "pending", "next_at": now + delay} if again else {"state": "dead", "finished_at": now}
    connection.execute(
        update(outbox)
        .where(outbox.c.id == claimed.id, outbox.c.state == "running", outbox.c.attempts == claimed.attempt)
        .values(**change, error=why[:2000])
    )
    return again


def _bury(connection: Connection, row_id: str, why: str, now: datetime) -> None:
    connection.execute(
        update(outbox)
        .where(outbox.c.id == row_id)
        .values(state="dead", attempts=MAX_ATTEMPTS, finished_at=now, error=why[:2000])
    )


def due(connection: Connection, now: datetime, limit: int = 200) -> list[Errand]:
    """Return pending rows whose time has come and push their next time into the future, locked against a second relay.

    A row that is sent again and again without being claimed (no worker, a long queue) is sent ever less often.
    """
    ripe = connection.execute(
        select(outbox.c.id, outbox.c.name, outbox.c.lane, outbox.c.created_at)
        .where(outbox.c.state.in_(("pending", "running")), outbox.c.next_at <= now)
        .order_by(outbox.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in ripe:
        age = (now - row.created_at).total_seconds()
        wait = timedelta(seconds=min(max(age, 15.0), 300.0))
        connection.execute(update(outbox).where(outbox.c.id == row.id).values(state="pending", next_at=now + wait))
    return [Errand(row.id, row.name, row.lane) for row in ripe]


def hasten(connection: Connection, now: datetime) -> None:
    """Let rows that wait be due: the broker has lost their messages. What failed keeps a pause of the longest kind."""
    soon = now + timedelta(seconds=LONGEST_RETRY_SECONDS)
    due_at = case((outbox.c.attempts == 0, literal(now, UtcDateTime)), else_=literal(soon, UtcDateTime))
    connection.execute(
        update(outbox).where(outbox.c.state == "pending", outbox.c.next_at > due_at).values(next_at=due_at)
    )


def oldest_pending_age(connection: Connection, now: datetime) -> float:
    """Return the age in seconds of the oldest row that is not finished, of OLDEST_OF; 0.0 when there is none."""
    some = select(outbox.c.created_at).where(outbox.c.state.in_(("pending", "running"))).limit(OLDEST_OF).subquery()
    born = connection.execute(select(func.min(some.c.created_at))).scalar_one_or_none()
    return 0.0 if born is None else max(0.0, (now - born).total_seconds())


def forget_done(connection: Connection, now: datetime, limit: int = 500) -> int:
    """Delete finished rows older than a day, at most `limit`. Returns how many."""
    old = select(outbox.c.id).where(outbox.c.state == "done", outbox.c.finished_at < now - KEEP_DONE).limit(limit)
    return int(connection.execute(delete(outbox).where(outbox.c.id.in_(old))).rowcount)
