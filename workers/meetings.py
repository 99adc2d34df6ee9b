"""Meetings: those over their time end, those about to begin are made warm."""

import logging

from shared.core.errors import DomainError
from shared.meetings import service as meetings
from shared.meetings.queries import soon_and_running
from shared.policies import cache as policy_cache
from shared.runtime import Runtime
from workers.task import every

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
