"""A thread that does what was left to it, begun when there is something to do."""

import logging
import os
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Background:
    """One daemon thread per process, begun by the first `wake`; in a forked process by the first one there.

    It calls `work` after each `wake`, and for several that come while it works once. `work` returns after how many
    seconds it wants to be called again without one, or None. What it raises is logged, and the thread lives on.
    """

    def __init__(self, name: str, work: Callable[[], float | None]) -> None:
        self._name = name
        self._work = work
        self._starting = threading.Lock()
        self._wanted = threading.Event()
        self._pid = 0  # whose thread it is: asking the thread whether it lives gives way to all others under gevent

    def wake(self) -> None:
        """Have the work done soon. Returns at once."""
        if self._pid != os.getpid():
            self._start()
        self._wanted.set()

    def _start(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                self._wanted = threading.Event()
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._pid = os.getpid()

    def _run(self) -> None:
        seconds: float | None = None
        while True:
            self._wanted.wait(seconds)
            self._wanted.clear()
            try:
                seconds = self._work()
            except Exception:
                log.exception("background_work_failed", extra={"work": self._name})
