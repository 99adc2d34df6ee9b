"""The outbox relay: what a request could not send, or a dead worker never finished, is sent again."""

import time

from shared.core import outbox
from shared.core.vitals import WORKER, sign
from shared.runtime import Runtime
from workers.task import every

RUN_SECONDS = 20.0  # a lane that all others wait for is not held longer


@every(5, "outbox.relay", lane="fast")
def relay(runtime: Runtime) -> int:
    """Send some of what is due; all that waits, when the broker has lost what it was given.

    Sending comes after the commit: a row that is sent twice is still worked on once.
    """
    if not runtime.queue.has_forgotten():
        return _send_some(runtime)
    with runtime.transaction() as tx:
        outbox.hasten(tx.connection, tx.now)
    until = time.monotonic() + RUN_SECONDS
    count = sent = _send_some(runtime)
    while sent and time.monotonic() < until:
        sent = _send_some(runtime)
        count += sent
    runtime.queue.remember()
    return count


def _send_some(runtime: Runtime) -> int:
    with runtime.transaction() as tx:
        errands = outbox.due(tx.connection, tx.now)
    for errand in errands:
        runtime.queue.send(errand)
    return len(errands)


@every(2, "worker.sign_of_life", lane="fast")
def sign_of_life(runtime: Runtime) -> int:
    """Tell /readyz that beat sends and a worker works."""
    with runtime.transaction() as tx:
        sign(tx.connection, WORKER, tx.now)
    return 0
