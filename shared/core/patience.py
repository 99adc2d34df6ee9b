"""Patience: asking what may never answer, and going on without the answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Question(Generic[T]):
    """A question to another system, asked in a thread so that nobody who wants to know has to wait for long.

    Whoever comes while it is asked waits for the same answer: however long the other side is silent, one thread and one
    connection wait for it.
    """

    def __init__(self, name: str, ask: Callable[[], T]) -> None:
        self._name = name
        self._ask = ask
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None

    def answer(self, seconds: float) -> T:
        """Return the answer. Raises TimeoutError when there is none within `seconds`, and what asking raised."""
        with self._lock:
            asked = self._asked
            if asked is None or asked.done():
                asked = Future()
                threading.Thread(target=self._run, args=(asked,), name=self._name, daemon=True).start()
                self._asked = asked  # now that there is somebody who answers it
        return asked.result(seconds)

    def _run(self, asked: "Future[T]") -> None:
        try:
            asked.set_result(self._ask())
        except BaseException as broken:  # whoever waits is to hear of anything
            asked.set_exception(broken)
