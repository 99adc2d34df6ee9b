"""Presence, kept true: dead processes, and people whose grace is over."""

from shared.participants import heartbeat
from shared.runtime import Runtime
from workers.task import every


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
