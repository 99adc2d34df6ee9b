"""Jobs that somebody watches: those that were given up have failed."""

from shared.jobs import service
from shared.runtime import Runtime
from workers.task import every

MOST = 200  # in one go, so that the lease of a period lasts


@every(5, "jobs.settle")
def settle(runtime: Runtime) -> int:
    """Let jobs fail whose work was given up, so that everything that was accepted comes to an end."""
    count = 0
    while count < MOST:
        with runtime.transaction() as tx:
            if not service.settle_dead(tx):
                break
        count += 1
    return count
