"""Webhooks: whoever is behind gets a turn, and what is sent is sent outside of any transaction."""

import threading
import time
from typing import Any

from celery.signals import worker_shutting_down

from shared.runtime import Runtime
from shared.webhooks import delivering, outcomes
from shared.webhooks.delivering import Batch, Turn
from shared.webhooks.jobs import Deliver, SendTest
from shared.webhooks.sending import send
from workers.task import every, outside

SEND_SECONDS = 20.0  # then others of the lane have their turn

_stopping = threading.Event()  # for a worker with threads, which is told to stop in this very process


@worker_shutting_down.connect
def _begin_nothing(**_: Any) -> None:
    """Let a worker that is told to stop wait for the letters in hand alone: the next worker sends the others."""
    _stopping.set()


def _may_go_on(until: float) -> bool:
    return time.monotonic() < until and not _stopping.is_set()


@every(1, "webhooks.give_turns", lane="webhooks")
def give_turns(runtime: Runtime) -> int:
    """Find endpoints that were not told all there is to tell, and have it sent."""
    with runtime.transaction() as tx:
        return delivering.give_turns(tx)


@outside(Deliver)
def deliver(runtime: Runtime, job: Deliver) -> None:
    """Send an endpoint a meeting's next events, one after the other, until one is not taken or time is up."""
    with runtime.transaction() as tx:
        turn = delivering.take(tx, job)
    until = time.monotonic() + SEND_SECONDS
    while turn is not None and _may_go_on(until):
        with runtime.reading() as tx:
            batch = delivering.batch(tx, turn)
        if batch is None:
            break
        if not _send_all(runtime, turn, batch, until):
            return
    if turn is not None:
        with runtime.transaction() as tx:
            delivering.end_turn(tx, turn)


def _send_all(runtime: Runtime, turn: Turn, batch: Batch, until: float) -> bool:
    """Send a batch in order; return whether the turn goes on."""
    private = runtime.settings.webhook_allow_private
    was_failing = batch.was_failing
    for post in batch.posts:
        if not _may_go_on(until):
            return True
        answer = send(batch.recipient, post.letter, runtime.now(), private=private)
        with runtime.transaction() as tx:
            if not outcomes.settle(tx, turn, post, answer, was_failing=was_failing):
                return False
        was_failing = False
    with runtime.transaction() as tx:
        return delivering.move_on(tx, turn, batch.up_to)


@outside(SendTest)
def send_test(runtime: Runtime, job: SendTest) -> None:
    """Send a test, and write down what came of it."""
    with runtime.reading() as tx:
        test = delivering.letter_of_test(tx, job.delivery_id)
    if test is None:
        return
    answer = send(*test, runtime.now(), private=runtime.settings.webhook_allow_private)
    with runtime.transaction() as tx:
        outcomes.note_test(tx, job.delivery_id, answer)


@every(60, "webhooks.tidy")
def tidy(runtime: Runtime) -> int:
    """Give up what waits for a receiver that took nothing for a day."""
    with runtime.transaction() as tx:
        return outcomes.bury_overdue(tx)
