"""Requests that are sent at the same time, and what makes them meet."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from shared.core import ledger
from shared.core.streams import meeting_stream
from shared.meetings.queries import lock_meeting
from tests.factories.world import Answer, World
from web.http.together import Sharing

LONG = 30.0


class Crowd:
    """Requests that are on their way."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._answers: dict[int, Answer] = {}

    def send(self, call: Callable[[], Answer]) -> None:
        """Send a request, and do not wait for its answer."""
        number = len(self._threads)
        thread = threading.Thread(target=lambda: self._answers.update({number: call()}), daemon=True)
        self._threads.append(thread)
        thread.start()

    def answers(self) -> list[Answer]:
        """Wait for all answers, and return them in the order of their requests."""
        for thread in self._threads:
            thread.join(LONG)
        return [self._answers[number] for number in range(len(self._threads))]


@contextmanager
def held(world: World, meeting_id: str) -> Iterator[None]:
    """Have the meeting's row and its stream locked by somebody else."""
    with world.runtime.transaction() as tx:
        lock_meeting(tx, meeting_id)
        ledger.hold(tx.connection, [meeting_stream(meeting_id)])
        yield


def sharing(world: World, act: str) -> Sharing:
    """Return what shares the transactions of an act in a meeting; it is made by the first one."""
    found: Sharing = world.app.extensions["parley-sharing"][f"POST /api/v1/meetings/<meeting_id>/{act}"]
    return found


@contextmanager
def gathering(world: World, act: str) -> Iterator[Callable[[int], None]]:
    """Hold back those who are the first to go, so that all who come meanwhile go together, however long that takes;
    yield what waits until so many are there."""
    shared, began, gate = sharing(world, act), threading.Event(), threading.Event()
    batcher, lane = shared._at_once, shared._lane
    work = batcher._work

    def hold(batch: Any) -> Any:
        began.set()
        assert gate.wait(LONG)
        return work(batch)

    def wait(count: int) -> None:
        until = time.monotonic() + LONG
        while not began.is_set() or 1 + sum(len(queue) for queue in batcher._waiting.values()) < count:
            assert time.monotonic() < until
            time.sleep(0.002)

    batcher._work, shared._lane = hold, lambda: 0  # type: ignore[method-assign]
    try:
        yield wait
    finally:
        batcher._work, shared._lane = work, lane  # type: ignore[method-assign]
        gate.set()


@contextmanager
def commits(world: World) -> Iterator[list[int]]:
    """Count the commits meanwhile."""
    seen = [0]

    def count(_connection: Any) -> None:
        seen[0] += 1

    event.listen(world.runtime.database.engine, "commit", count)
    try:
        yield seen
    finally:
        event.remove(world.runtime.database.engine, "commit", count)


def waiting(world: World, count: int, act: str = "join") -> None:
    """Wait until so many requests wait for a meeting that somebody holds."""
    in_turn = sharing(world, act)._in_turn
    until = time.monotonic() + LONG
    while sum(1 + len(queue) for queue in list(in_turn._waiting.values())) < count:
        assert time.monotonic() < until
        time.sleep(0.005)
