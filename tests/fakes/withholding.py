"""What stands before a PostgreSQL server and withholds its answers."""

import threading
from types import TracebackType

from tests.fakes.front import Front


class Withholding(Front):
    """Passes on all that a client sends, and no answer from an INSERT to the COMMIT. A context manager.

    Who waits for an answer in between waits for ever.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._may_answer = threading.Event()
        self._may_answer.set()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._may_answer.set()  # whoever still waits ends with its sockets
        super().__exit__(kind, value, at)

    def asked(self, data: bytes) -> None:
        """Withhold answers from now on, or no longer."""
        if b"INSERT" in data:
            self._may_answer.clear()
        if b"COMMIT" in data:
            self._may_answer.set()

    def answered(self, data: bytes) -> None:
        """Wait until the answer may go on."""
        self._may_answer.wait()
