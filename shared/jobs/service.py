"""Jobs that are accepted at once and done by a worker, in chunks: one transaction for each, and in it how far it came.

    queued --take--> running --advance--> running … --finish--> succeeded
                                          --fail-->  failed
    queued --cancel--> cancelled

So a worker that is killed loses no more than the chunk at hand, and whoever goes on begins behind the last that was
committed. A job whose outbox row is dead has failed; `settle_dead` says so.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update

from shared.core.ids import is_id, new_id
from shared.core.messages import Job
from shared.core.outbox import outbox
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.jobs.errors import JobNotCancellable, JobNotFound
from shared.jobs.events import JobAdvanced
from shared.jobs.models import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED, JobState, jobs
from shared.meetings.models import IN_PROGRESS, meetings

KEPT = timedelta(hours=24)
LOST = {"code": "INTERNAL_ERROR", "message": "The work could not be done; it was tried several times."}


def create(
    tx: Transaction,
    kind: str,
    *,
    meeting_id: str,
    participant_id: str,
    actor: Actor,
    wish: Mapping[str, Any],
    total: int,
    message: Callable[[str], Job],
) -> JobState:
    """Accept a job; `message` makes of its id what brings it to a worker. `total` is how much there is to do."""
    row = tx.execute(
        jobs.insert().returning(jobs),
        {
            "id": new_id(),
            "kind": kind,
            "meeting_id": meeting_id,
            "participant_id": participant_id,
            "user_id": actor.user_id,
            "user_name": actor.name,
            "status": QUEUED,
            "wish": dict(wish),
            "position": "",
            "done": 0,
            "total": total,
            "result": {},
            "created_at": tx.now,
        },
    ).one()
    tx.enqueue(message(row.id), row_id=row.id)
    return JobState.of(row)


def get_job(tx: Transaction, job_id: str, actor: Actor) -> JobState:
    """Return a job to whoever asked for it. Raises JobNotFound, to everybody else too."""
    row = tx.first(select(jobs).where(jobs.c.id == job_id, _is_asked_by(actor))) if is_id(job_id) else None
    if row is None:
        raise JobNotFound
    return JobState.of(row)


def _is_asked_by(actor: Actor) -> Any:
    if actor.user_id is not None:
        return jobs.c.user_id == actor.user_id
    return jobs.c.participant_id == actor.participant_id


def cancel(tx: Transaction, job_id: str, actor: Actor) -> JobState:
    """Cancel a job that has not begun. Raises JobNotFound, JobNotCancellable."""
    job = get_job(tx, job_id, actor)
    if job.status == CANCELLED:
        return job
    row = tx.first(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.status == QUEUED)
        .values(status=CANCELLED, finished_at=tx.now)
        .returning(jobs)
    )
    if row is None:
        raise JobNotCancellable
    return JobState.of(row)


def take(tx: Transaction, job_id: str) -> JobState | None:
    """Return a job to be worked on, its row locked until the commit; None when it is over."""
    row = tx.first(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_((QUEUED, RUNNING)))
        .values(status=RUNNING)
        .returning(jobs)
    )
    return None if row is None else JobState.of(row)


def advance(
    tx: Transaction, job: JobState, *, done: int, position: str, result: Mapping[str, Any], is_last: bool
) -> JobState:
    """Note how far a job has come; with `is_last` it has succeeded. The caller holds it. Emits JobAdvanced."""
    total = done if is_last else max(job.total, done)
    ended = {"status": SUCCEEDED, "finished_at": tx.now} if is_last else {}
    return _tell(tx, _store(tx, job, done=done, total=total, position=position, result=dict(result), **ended))


def fail(tx: Transaction, job: JobState, error: Mapping[str, str], *, tell: bool) -> JobState:
    """Note that a job cannot be done any further, and why. The caller holds it. With `tell` emits JobAdvanced."""
    failed = _store(tx, job, status=FAILED, finished_at=tx.now, error=dict(error))
    return _tell(tx, failed) if tell else failed


def _store(tx: Transaction, job: JobState, **values: Any) -> JobState:
    return JobState.of(tx.execute(update(jobs).where(jobs.c.id == job.id).values(**values).returning(jobs)).one())


def _tell(tx: Transaction, job: JobState) -> JobState:
    tx.emit(JobAdvanced(meeting_id=job.meeting_id, actor_id=job.user_id, job=job))
    return job


def settle_dead(tx: Transaction) -> bool:
    """Let a job fail whose outbox row was given up; return whether there was one.

    Locks the job. Emits JobAdvanced while the meeting runs.
    """
    lost = (
        select(jobs, meetings.c.status.label("meeting_status"))
        .join(outbox, outbox.c.id == jobs.c.id)
        .join(meetings, meetings.c.id == jobs.c.meeting_id)
        .where(outbox.c.state == "dead", jobs.c.status.in_((QUEUED, RUNNING)))
        .order_by(jobs.c.id)
        .limit(1)
    )
    row = tx.first(lost.with_for_update(of=jobs, skip_locked=True))
    if row is None:
        return False
    fail(tx, JobState.of(row), LOST, tell=row.meeting_status == IN_PROGRESS)
    return True


def forget_old(tx: Transaction, limit: int = 500) -> int:
    """Delete jobs that ended more than 24 h ago, at most `limit`. Returns how many."""
    old = select(jobs.c.id).where(jobs.c.finished_at < tx.now - KEPT).limit(limit)
    return tx.execute(delete(jobs).where(jobs.c.id.in_(old))).rowcount
