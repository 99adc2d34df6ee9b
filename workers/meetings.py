"""Meetings: those over their time end, those about to begin are made warm."""

import logging

import redis

from shared.core.errors import DomainError
from shared.meetings import service as meetings
from shared.meetings.jobs import PrewarmMeeting
from shared.meetings.queries import soon_and_running
from shared.policies import cache as policy_cache
from shared.runtime import Runtime
from workers.task import every, outside

log = logging.getLogger(__name__)


@every(5, "meetings.end_overdue", lane="fast")
def end_overdue(runtime: Runtime) -> int:
    """End meetings whose deadline has passed, each in a transaction of its own."""
    with runtime.reading() as tx:
        overdue = meetings.overdue(tx)
    count = 0
    for meeting_id in overdue:
        try:
            with runtime.transaction() as tx:
                meetings.end(tx, meeting_id, None)
        except DomainError:
            continue  # somebody ended it meanwhile
        except Exception:  # it must not keep those behind it running; it comes again in five seconds
            log.exception("meeting_not_ended", extra={"meeting_id": meeting_id})
            continue
        count += 1
    return count


@every(60, "meetings.prewarm")
def prewarm(runtime: Runtime) -> int:
    """Lay the policies of running meetings, and of those about to begin, into Redis, before everybody joins at once."""
    after, count = "", 0
    while True:
        with runtime.reading() as tx:
            ids = soon_and_running(tx, after)
            entries = policy_cache.prewarm(tx, ids) if ids else {}
        if not ids:
            return count
        runtime.tools.cache.store(policy_cache.KIND, entries)
        after, count = ids[-1], count + len(entries)


@outside(PrewarmMeeting)
def prewarm_started(runtime: Runtime, job: PrewarmMeeting) -> None:
    """Lay the policy of a meeting that was started into Redis; without Redis the database is read instead."""
    with runtime.reading() as tx:
        entries = policy_cache.prewarm(tx, [job.meeting_id])
    try:
        runtime.tools.cache.store(policy_cache.KIND, entries)
    except redis.RedisError as away:  # not worth another attempt: the next minute's beat does it for all
        log.warning("meeting_not_prewarmed", extra={"meeting_id": job.meeting_id, "error": str(away)})
