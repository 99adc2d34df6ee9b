"""The outbox relay: what a request could not send, or a dead worker never finished, is sent again."""

from shared.core import outbox
from shared.core.vitals import WORKER, sign
from shared.runtime import Runtime
from workers.task import every


@every(5, "outbox.relay", lane="fast")
def relay(runtime: Runtime) -> int:
    """Send what is due; all that waits, when the broker has lost what it was given.

    Sending comes after the commit: a row that is sent twice is still worked on once.
    """
    was_lost = runtime.queue.has_forgotten()
    with runtime.transaction() as tx:
        if was_lost:
            outbox.hasten(tx.connection, tx.now)
        errands = outbox.due(tx.connection, tx.now)
    for errand in errands:
        runtime.queue.send(errand)
    if was_lost:
        runtime.queue.remember()
    return len(errands)


@every(2, "worker.sign_of_life", lane="fast")
def sign_of_life(runtime: Runtime) -> int:
    """Tell /readyz that beat sends and a worker works."""
    with runtime.transaction() as tx:
        sign(tx.connection, WORKER, tx.now)
    return 0
