"""Forgetting what is over: each kind in bounded chunks, each chunk in a transaction of its own."""

from collections.abc import Callable

from shared.core import idempotency, outbox
from shared.core.transaction import Transaction
from shared.identity import api_keys
from shared.identity import service as identity
from shared.jobs import service as jobs
from shared.livekit import inbox
from shared.participants import attempts, tickets
from shared.runtime import Runtime
from shared.webhooks import endpoints
from workers.task import every

CHUNKS = 200


def _outbox(tx: Transaction) -> int:
    return outbox.forget_done(tx.connection, tx.now)


FORGET: tuple[Callable[[Transaction], int], ...] = (
    tickets.forget_expired,
    attempts.forget_expired,
    idempotency.forget_expired,
    identity.forget_expired,
    api_keys.forget_over,
    inbox.forget_old,
    jobs.forget_old,
    endpoints.forget_old,
    _outbox,
)


@every(60, "expiry.forget")
def forget(runtime: Runtime) -> int:
    """Delete expired tickets, idempotency keys, sessions with their tokens, API keys that are over, counts of wrong
    passcodes, old jobs, LiveKit's events, old deliveries of webhooks and finished outbox rows."""
    return sum(_all(runtime, each) for each in FORGET)


def _all(runtime: Runtime, chunk: Callable[[Transaction], int]) -> int:
    count = 0
    for _ in range(CHUNKS):
        with runtime.transaction() as tx:
            gone = chunk(tx)
        count += gone
        if gone == 0:
            break
    return count
