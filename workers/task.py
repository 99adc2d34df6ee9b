"""From a message of the broker to the work: what every task does around its one line.

A job's message carries the id of its outbox row. The worker claims the row, does the work, and marks it done; a second
message for the same row finds nothing to do. Two kinds of work:

- `in_transaction`: database only. Effect and mark commit together, so the effect happens exactly once.
- `outside`: talks to another system. Done before it is marked, so it may happen twice, and must bear that.

Periodic tasks are sent by beat by name, and hold a lease while they run: two beats make no second effect.

Every outcome is counted, and is a line in the log: `task_over` of a job, `periodic_task` of a period in which there was
something to do.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from shared.core import locks, outbox, tracing
from shared.core.logging import bind_contextvars
from shared.core.messages import Job, Lane
from shared.core.metrics import JOB_WAIT_SECONDS, TASK_SECONDS, TASKS
from shared.core.outbox import Claim
from shared.core.transaction import Transaction
from shared.runtime import Runtime

log = logging.getLogger(__name__)

J = TypeVar("J", bound=Job)


@dataclass(frozen=True, slots=True)
class JobTask:
    """How a type of job is worked on; `run` gets the runtime and the claimed row."""

    job: type[Job]
    run: Callable[[Runtime, Claim], None]


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Work that beat asks for every so often. `run` returns how much there was to do, for the log."""

    name: str
    every_seconds: float
    lane: Lane
    run: Callable[[Runtime], int]


JOB_TASKS: dict[str, JobTask] = {}
PERIODIC_TASKS: dict[str, PeriodicTask] = {}


def in_transaction(job_type: type[J]) -> Callable[[Callable[[Transaction, J], None]], Callable[[Transaction, J], None]]:
    """Register `(tx, job)` as the work of a job that needs the database only."""

    def register(work: Callable[[Transaction, J], None]) -> Callable[[Transaction, J], None]:
        def run(runtime: Runtime, claimed: Claim) -> None:
            with runtime.transaction() as tx:
                if outbox.finish(tx.connection, claimed.id, tx.now):
                    work(tx, _job(job_type, claimed.payload))

        _enter(job_type, run)
        return work

    return register


def outside(job_type: type[J]) -> Callable[[Callable[[Runtime, J], None]], Callable[[Runtime, J], None]]:
    """Register `(runtime, job)` as the work of a job that talks to another system, and bears being done twice."""

    def register(work: Callable[[Runtime, J], None]) -> Callable[[Runtime, J], None]:
        def run(runtime: Runtime, claimed: Claim) -> None:
            work(runtime, _job(job_type, claimed.payload))
            with runtime.transaction() as tx:
                outbox.finish(tx.connection, claimed.id, tx.now)

        _enter(job_type, run)
        return work

    return register


def every(
    seconds: float, name: str, *, lane: Lane = "maintenance"
) -> Callable[[Callable[[Runtime], int]], Callable[[Runtime], int]]:
    """Register `(runtime) -> count` as periodic work, and as an entry of beat's schedule."""

    def register(work: Callable[[Runtime], int]) -> Callable[[Runtime], int]:
        if name in PERIODIC_TASKS:
            raise TypeError(f"periodic task {name} is registered twice")
        PERIODIC_TASKS[name] = PeriodicTask(name, seconds, lane, work)
        return work

    return register


def _enter(job_type: type[Job], run: Callable[[Runtime, Claim], None]) -> None:
    if job_type.name in JOB_TASKS:
        raise TypeError(f"job {job_type.name} has two workers")
    JOB_TASKS[job_type.name] = JobTask(job_type, run)


def _job(job_type: type[J], payload: dict[str, Any]) -> J:
    # A newer release may have written fields that this one does not know.
    known = {field.name for field in fields(job_type)}
    return job_type(**{name: value for name, value in payload.items() if name in known})


def run_job(runtime: Runtime, name: str, row_id: str, *, redelivered: bool = False) -> str:
    """Work on one outbox row; return the outcome: done, skipped, retry or dead. Raises nothing of the work's own."""
    began = time.perf_counter()
    with runtime.transaction() as tx:
        claimed = outbox.claim(tx.connection, row_id, name, tx.now, redelivered=redelivered)
    if claimed is None:
        return _over(name, "skipped", began, row_id)
    task = JOB_TASKS[name]
    if claimed.attempt == 1:
        JOB_WAIT_SECONDS.labels(task.job.lane).observe(claimed.waited_seconds)
    if claimed.cause.request_id:  # for the log lines, and for the jobs that follow from this one
        bind_contextvars(request_id=claimed.cause.request_id)
    try:
        with tracing.span(name, "consumer", parent=claimed.cause.trace, job_id=row_id, attempt=claimed.attempt):
            task.run(runtime, claimed)
    except Exception as broken:
        log.exception("job_failed", extra={"task": name, "job_id": row_id, "attempt": claimed.attempt})
        with runtime.transaction() as tx:
            again = outbox.fail(tx.connection, claimed, f"{type(broken).__name__}: {broken}", tx.now)
        return _over(name, "retry" if again else "dead", began, row_id, claimed.attempt)
    return _over(name, "done", began, row_id, claimed.attempt)


def _over(name: str, outcome: str, began: float, row_id: str, attempt: int | None = None) -> str:
    told = {"task": name, "outcome": outcome, "seconds": _since(began), "job_id": row_id, "attempt": attempt}
    log.info("task_over", extra=told)
    return _count(name, outcome, began)


def run_periodic(runtime: Runtime, name: str) -> str:
    """Do a periodic task unless its period was served already; return the outcome: done, skipped or failed."""
    began = time.perf_counter()
    task = PERIODIC_TASKS[name]
    with runtime.transaction() as tx:
        # Shorter than the period, so that a message that comes a little early is not a period lost.
        mine = locks.take(tx, f"periodic:{name}", task.every_seconds * 0.8)
    if not mine:
        return _count(name, "skipped", began)
    try:
        count = task.run(runtime)
    except Exception:
        log.exception("periodic_task_failed", extra={"task": name, "outcome": "failed", "seconds": _since(began)})
        return _count(name, "failed", began)
    # At other times it tells nothing: several of them a second would hide what does.
    level = logging.INFO if count else logging.DEBUG
    told = {"task": name, "outcome": "done", "seconds": _since(began), "count": count}
    log.log(level, "periodic_task", extra=told)
    return _count(name, "done", began)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)


def _count(name: str, outcome: str, began: float) -> str:
    TASKS.labels(name, outcome).inc()
    TASK_SECONDS.labels(name).observe(time.perf_counter() - began)
    return outcome
