"""Looking at the presence tables."""

from sqlalchemy import func, select

from shared.realtime.presence import connections, processes
from shared.runtime import Runtime


def count_of(runtime: Runtime, participant_id: str) -> int:
    """Return how many connections of a participant are held by living processes."""
    with runtime.reading() as tx:
        return int(
            tx.scalar(
                select(func.count())
                .select_from(connections.join(processes))
                .where(connections.c.participant_id == participant_id, processes.c.lease_until > tx.now)
            )
        )
