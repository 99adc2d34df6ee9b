"""Single flight: of many callers who want the same thing at the same time one gets it, and gives it to the others."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

WAIT_SECONDS = 0.5


class _Flight(Generic[T]):
    """One call that is under way; `result` is there when it has landed well."""

    __slots__ = ("landed", "result")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.result: tuple[T] | None = None


class SingleFlight(Generic[T]):
    """Calls by key; any thread or greenlet may call.

    Nobody depends on the one who flies: whoever waits for one that fails, is killed or takes longer than WAIT_SECONDS
    makes the call alone. So who waits may hold locks, for that long, and the work may want them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight[T]] = {}

    def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what `work` returns, of this caller or of one with the same key who was first. Raises what this
        caller's own `work` raises."""
        with self._lock:
            flight = self._flights.get(key)
            is_first = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if is_first:
            return self._fly(key, flight, work)
        flight.landed.wait(WAIT_SECONDS)
        return work() if flight.result is None else flight.result[0]

    def _fly(self, key: Hashable, flight: _Flight[T], work: Callable[[], T]) -> T:
        try:
            result = work()
            flight.result = (result,)
            return result
        finally:
            with self._lock:
                del self._flights[key]
            flight.landed.set()
