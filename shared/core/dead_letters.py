"""What an operator sees of the outbox, lane by lane, and what is done about rows that were given up."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from sqlalchemy import Connection, func, select, update

from shared.core.messages import Lane
from shared.core.outbox import outbox


@dataclass(frozen=True, slots=True)
class Standing:
    """How much is in a lane. `oldest_seconds` is the age of the oldest row that waits or runs; 0.0 without one."""

    lane: str
    pending: int = 0
    running: int = 0
    dead: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that was given up, when, and what went wrong the last time."""

    id: str
    name: str
    lane: str
    died_at: datetime
    error: str


def standings(connection: Connection, now: datetime, most: int | None = None) -> list[Standing]:
    """Return how each lane stands, the empty ones too; of all rows `most` are looked at, when that is given."""
    some = (
        select(outbox.c.lane, outbox.c.state, outbox.c.created_at)
        .where(outbox.c.state.in_(("pending", "running", "dead")))
        .limit(most)
        .subquery()
    )
    counted = connection.execute(
        select(
            some.c.lane, some.c.state, func.count().label("rows"), func.min(some.c.created_at).label("born")
        ).group_by(some.c.lane, some.c.state)
    ).all()
    lanes = dict.fromkeys([*get_args(Lane), *sorted(row.lane for row in counted)])
    found = []
    for lane in lanes:
        rows = {row.state: row for row in counted if row.lane == lane}
        born = [rows[state].born for state in ("pending", "running") if state in rows]
        age = max(0.0, (now - min(born)).total_seconds()) if born else 0.0
        found.append(Standing(lane, **{state: row.rows for state, row in rows.items()}, oldest_seconds=age))
    return found


def dead_letters(connection: Connection, limit: int) -> list[DeadLetter]:
    """Return the rows that were given up, the newest first."""
    rows = connection.execute(
        select(outbox.c.id, outbox.c.name, outbox.c.lane, outbox.c.finished_at, outbox.c.error)
        .where(outbox.c.state == "dead")
        .order_by(outbox.c.finished_at.desc(), outbox.c.id)
        .limit(limit)
    )
    return [DeadLetter(row.id, row.name, row.lane, row.finished_at, row.error or "") for row in rows]


def requeue(connection: Connection, now: datetime, ids: Collection[str] | None = None) -> list[str]:
    """Give dead rows, those named or all, their attempts back; return the ids of those that were dead.

    Beat's relay sends them with its next round.
    """
    is_meant = outbox.c.state == "dead"
    if ids is not None:
        is_meant &= outbox.c.id.in_(ids)
    return list(
        connection.execute(
            update(outbox)
            .where(is_meant)
            .values(state="pending", attempts=0, next_at=now, finished_at=None, error=None)
            .returning(outbox.c.id)
        ).scalars()
    )
