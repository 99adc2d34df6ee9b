"""Forgetting what is over: each kind in bounded chunks, each chunk in a transaction of its own."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from shared.core import idempotency, locks, outbox
from shared.core.metrics import FORGOTTEN
from shared.core.transaction import Transaction
from shared.identity import api_keys
from shared.identity import service as identity
from shared.jobs import service as jobs
from shared.livekit import inbox
from shared.participants import attempts, tickets
from shared.runtime import Runtime
from shared.webhooks import cursors, endpoints
from workers.task import every

log = logging.getLogger(__name__)

RUN_SECONDS = 40.0  # less than the lease of a minute's period, and than a task may take


def _outbox(tx: Transaction) -> int:
    return outbox.forget_done(tx.connection, tx.now)


# How long each kind is kept is told in docs/operate/retention.md.
FORGET: dict[str, Callable[[Transaction], int]] = {
    "tickets": tickets.forget_expired,
    "passcode_attempts": attempts.forget_expired,
    "idempotency_keys": idempotency.forget_expired,
    "sessions": identity.forget_expired,
    "refresh_tokens": identity.forget_used_tokens,
    "api_keys": api_keys.forget_over,
    "livekit_events": inbox.forget_old,
    "jobs": jobs.forget_old,
    "webhook_deliveries": endpoints.forget_old,
    "webhook_cursors": cursors.forget_over,
    "outbox": _outbox,
    "leases": locks.forget_over,
}


@every(60, "expiry.forget")
def forget(runtime: Runtime) -> int:
    """Delete what is over of every kind: tickets, keys, sessions, tokens, jobs, deliveries, finished outbox rows …"""
    return sum(forget_by_kind(runtime).values())


def forget_by_kind(runtime: Runtime) -> Counter[str]:
    """Delete what is over; return how many rows of each kind.

    The kinds take turns with one chunk each, so that much of one kind keeps no other waiting; what RUN_SECONDS did not
    suffice for is left to the next run. A kind that fails is left alone until then.
    """
    until = time.monotonic() + RUN_SECONDS
    count: Counter[str] = Counter()
    pending = dict(FORGET)
    while pending:
        for kind, chunk in list(pending.items()):
            gone = _forget_chunk(runtime, kind, chunk)
            count[kind] += gone
            if gone == 0:
                del pending[kind]
        if time.monotonic() >= until:
            break
    return count


def _forget_chunk(runtime: Runtime, kind: str, chunk: Callable[[Transaction], int]) -> int:
    try:
        with runtime.transaction() as tx:
            gone = chunk(tx)
    except Exception:
        log.exception("not_forgotten", extra={"kind": kind})
        return 0
    FORGOTTEN.labels(kind).inc(gone)
    return gone
