"""What stands before a PostgreSQL server and withholds its answers."""

import socket
import threading
from contextlib import suppress
from types import TracebackType


class Withholding:
    """Passes on all that a client sends, and no answer from an INSERT to the COMMIT. A context manager.

    Who waits for an answer in between waits for ever.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._may_answer = threading.Event()
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> "Withholding":
        self._may_answer.set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._may_answer.set()
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._behind))
                self._open += (near, far)
                threading.Thread(target=self._ask, args=(near, far), daemon=True).start()
                threading.Thread(target=self._answer, args=(far, near), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65_536):
                if b"INSERT" in data:
                    self._may_answer.clear()
                if b"COMMIT" in data:
                    self._may_answer.set()
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def _answer(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65_536):
                self._may_answer.wait()
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)
