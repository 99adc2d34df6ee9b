"""Batching: what several callers want at the same time is done together, once.

Whoever comes first works at once and alone, so nobody waits for others to come. Who comes meanwhile waits, and all of
them go together in the next batch: the more there is to do, the less each costs ("group commit").
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from shared.core.errors import ServiceUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class NotTogether(Exception):
    """In place of an item's result: it could not be done with the others and is done once more, alone."""


class Held(NotTogether):
    """Somebody else has locked what the item needs; it may be waited for."""


class _Turn(Generic[Item, Answer]):
    """One caller with its items, and what became of them: None as long as the caller has to lead the next batch."""

    __slots__ = ("_is_up", "items", "outcomes")

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.outcomes: Sequence[Answer | Exception] | None = None
        self._is_up: threading.Event | None = None

    def prepare_to_wait(self) -> None:
        self._is_up = threading.Event()

    def wait(self) -> None:
        assert self._is_up is not None
        self._is_up.wait()

    def wake(self) -> None:
        if self._is_up is not None:
            self._is_up.set()


class Batcher(Generic[Item, Answer]):
    """Collects calls with the same key into batches, one at a time for each key; any thread or greenlet may call.

    `work` gets items in the order of their arrival, and returns for each its result, or an exception that its caller
    is to get. A batch takes in callers until it has `limit` items. When `work` itself raises, an item that was alone
    gets the exception; several are each done once more alone, by their callers, unless it was ServiceUnavailable,
    which all of them get; and, where they `fail_together`, those too who wait for their turn meanwhile: where the first
    waited in vain, the others would one after the other.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        limit: int = 64,
        *,
        fail_together: bool = False,
    ) -> None:
        self._work = work
        self._limit = limit
        self._fail_together = fail_together
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[_Turn[Item, Answer]]] = {}  # has a key as long as somebody works on it
        self._since: dict[Hashable, float] = {}  # and so has this

    def since(self, key: Hashable = None) -> float | None:
        """Return at which monotonic time the batch at hand of this key began; None when nobody works on it."""
        return self._since.get(key)

    def run(self, item: Item, key: Hashable = None) -> Answer:
        """Have an item done, with others of the same key if there are any; return its result. Raises what came of it.

        An item may be tried twice: the first time together with others, which then left nothing behind.
        """
        (outcome,) = self.run_all([item], key)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run_all(self, items: Sequence[Item], key: Hashable = None) -> list[Answer | Exception]:
        """Have items done in this order; return for each what `run` returns or raises."""
        turn: _Turn[Item, Answer] = _Turn(items)
        with self._lock:
            queue = self._waiting.get(key)
            if queue is None:
                self._waiting[key] = deque()
                self._since[key] = time.monotonic()
            else:
                turn.prepare_to_wait()
                queue.append(turn)
        if queue is not None:
            turn.wait()
        if turn.outcomes is None:
            self._lead(turn, key)
        assert turn.outcomes is not None
        return [
            self._alone(item) if isinstance(outcome, NotTogether) else outcome
            for item, outcome in zip(items, turn.outcomes, strict=True)
        ]

    def _alone(self, item: Item) -> Answer | Exception:
        try:
            return self._work([item])[0]
        except Exception as broken:
            return broken

    def _lead(self, turn: _Turn[Item, Answer], key: Hashable) -> None:
        """Work for all who wait, and hand over to whoever came meanwhile."""
        batch, items = [turn], list(turn.items)
        with self._lock:
            queue = self._waiting[key]
            self._since[key] = time.monotonic()
            while queue and len(items) < self._limit:
                batch.append(queue.popleft())
                items += batch[-1].items
        try:
            outcomes = self._outcomes(items)
            if self._fail_together and all(isinstance(outcome, ServiceUnavailable) for outcome in outcomes):
                batch += self._send_away(queue)
                outcomes = [outcomes[0]] * sum(len(one.items) for one in batch)
            each = iter(outcomes)
            for one in batch:
                one.outcomes = [next(each) for _ in one.items]
        finally:
            with self._lock:
                if queue:
                    queue.popleft().wake()
                else:
                    del self._waiting[key], self._since[key]
            for one in batch[1:]:
                if one.outcomes is None:  # the leader was killed
                    one.outcomes = [NotTogether() for _ in one.items]
                one.wake()

    def _send_away(self, queue: deque[_Turn[Item, Answer]]) -> list[_Turn[Item, Answer]]:
        with self._lock:
            waiting = list(queue)
            queue.clear()
        return waiting

    def _outcomes(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        try:
            return self._work(items)
        except ServiceUnavailable as away:
            return [away] * len(items)
        except Exception as broken:
            return [broken] if len(items) == 1 else [NotTogether() for _ in items]
