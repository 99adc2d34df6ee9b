"""Presence, kept true: dead processes, and people whose grace is over; and what is done to many at once."""

from shared.participants import batch, heartbeat
from shared.participants.jobs import UpdateParticipants
from shared.runtime import Runtime
from workers.task import every, outside


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
