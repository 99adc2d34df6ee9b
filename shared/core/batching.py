"""Batching: what several callers want at the same time is done together, once.

Whoever comes first works at once and alone, so nobody waits for others to come. Who comes meanwhile waits, and all of
them go together in the next batch: the more there is to do, the less each costs ("group commit").
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from shared.core.errors import ServiceUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class NotTogether(Exception):
    """In place of an item's result: it could not be done with the others and is done once more, alone."""


class _Turn(Generic[Item, Answer]):
    """One caller, and what became of the item: `outcome` is None as long as the caller has to lead the next batch."""

    __slots__ = ("_is_up", "item", "outcome")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.outcome: tuple[Answer | Exception] | None = None
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

    `work` gets at most `limit` items in the order of their arrival, and returns for each its result, or an exception
    that its caller is to get. When `work` itself raises, an item that was alone gets the exception; several are each
    done once more alone, by their callers, unless it was ServiceUnavailable, which all of them get.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer | Exception]], limit: int = 64) -> None:
        self._work = work
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[_Turn[Item, Answer]]] = {}  # has a key as long as somebody works on it

    def run(self, item: Item, key: Hashable = None) -> Answer:
        """Have an item done, with others of the same key if there are any; return its result. Raises what came of it.

        An item may be tried twice: the first time together with others, which then left nothing behind.
        """
        turn: _Turn[Item, Answer] = _Turn(item)
        with self._lock:
            queue = self._waiting.get(key)
            if queue is None:
                self._waiting[key] = deque()
            else:
                turn.prepare_to_wait()
                queue.append(turn)
        if queue is not None:
            turn.wait()
        if turn.outcome is None:
            self._lead(turn, key)
        assert turn.outcome is not None
        (outcome,) = turn.outcome
        if isinstance(outcome, NotTogether):
            (outcome,) = self._work([item])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _lead(self, turn: _Turn[Item, Answer], key: Hashable) -> None:
        """Work for all who wait, and hand over to whoever came meanwhile."""
        with self._lock:
            queue = self._waiting[key]
            batch = [turn, *(queue.popleft() for _ in range(min(len(queue), self._limit - 1)))]
        try:
            for one, outcome in zip(batch, self._outcomes([one.item for one in batch]), strict=True):
                one.outcome = (outcome,)
        finally:
            with self._lock:
                if queue:
                    queue.popleft().wake()
                else:
                    del self._waiting[key]
            for one in batch[1:]:
                one.outcome = one.outcome or (NotTogether(),)  # the leader was killed
                one.wake()

    def _outcomes(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        try:
            return self._work(items)
        except ServiceUnavailable as away:
            return [away] * len(items)
        except Exception as broken:
            return [broken] if len(items) == 1 else [NotTogether() for _ in items]
