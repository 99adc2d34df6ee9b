"""Presence, kept true: dead processes, and people whose grace is over. What is done to many at once. And meetings that
nobody looks after.
"""

import logging
from collections.abc import Callable

from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.participants import batch, heartbeat, unattended
from shared.participants.escalation import escalate
from shared.participants.handover import end_idle as end_if_idle
from shared.participants.handover import hand_over as hand_over_one
from shared.participants.jobs import UpdateParticipants
from shared.participants.unattended import Find
from shared.runtime import Runtime
from workers.task import every, outside

log = logging.getLogger(__name__)


@every(5, "participants.sweep_processes", lane="fast")
def sweep_processes(runtime: Runtime) -> int:
    """Take the connections of dead processes away."""
    with runtime.transaction() as tx:
        return heartbeat.sweep_processes(tx)


@every(2, "participants.sweep_stale", lane="fast")  # 25 s of silence, 30 s of grace, 60 s in all
def sweep_stale(runtime: Runtime) -> int:
    """Let people leave whose grace is over, meeting by meeting, at most 500 a transaction."""
    with runtime.reading() as tx:
        meeting_ids = heartbeat.stale_meetings(tx)
    count = 0
    for meeting_id in meeting_ids:
        while True:
            with runtime.transaction() as tx:
                swept = heartbeat.sweep_meeting(tx, meeting_id)
            count += swept
            if swept < heartbeat.SWEEP_LIMIT:
                break
    return count


@outside(UpdateParticipants)  # in transactions of its own: each chunk notes how far the job came, so none is done twice
def update(runtime: Runtime, job: UpdateParticipants) -> None:
    """Change many participants, chunk by chunk."""
    is_more = True
    while is_more:
        with runtime.transaction() as tx:
            is_more = batch.work_chunk(tx, job.job_id)


@every(2, "participants.hand_over", lane="fast")
def hand_over(runtime: Runtime) -> int:
    """Give meetings whose hosts have left another host, or end them, as their policy says."""
    return _see_to(runtime, unattended.without_host, hand_over_one)


@every(5, "participants.escalate_waiting", lane="fast")
def escalate_waiting(runtime: Runtime) -> int:
    """Do for those whom nobody has answered what the policy says."""
    return _see_to(runtime, unattended.without_answer, escalate)


@every(5, "participants.end_idle", lane="fast")
def end_idle(runtime: Runtime) -> int:
    """End meetings that nobody has been in for as long as their policy says."""
    return _see_to(runtime, unattended.without_people, end_if_idle)


def _see_to(runtime: Runtime, find: Find, act: Callable[[Transaction, str], int]) -> int:
    """Act on every meeting that is found, each in a transaction of its own. Returns how much was done."""
    after: str | None = ""
    count = 0
    while after is not None:
        with runtime.reading() as tx:
            page = find(tx, after)
        for meeting_id in page.due:
            try:
                with runtime.transaction() as tx:
                    count += act(tx, meeting_id)
            except DomainError:
                continue  # it is over meanwhile
            except Exception:  # it must not keep those behind it waiting; it comes again by itself
                log.exception("meeting_not_seen_to", extra={"meeting_id": meeting_id})
        after = page.last
    return count
