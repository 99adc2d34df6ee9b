"""What stands before a server, on a port of its own, and passes on what it hears in both directions."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class Front:
    """Takes connections and opens one to the server behind for each. A context manager.

    Subclasses say how a connection is taken (`meet`), and what is done with what is heard (`asked`, `answered`).
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def meet(self, taken: socket.socket) -> socket.socket:
        """Return the socket by which to speak to whoever has connected."""
        return taken

    def asked(self, data: bytes) -> None:
        """Hear what a client says, before the server does."""

    def answered(self, data: bytes) -> None:
        """Hear what the server says, before its client does."""

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self.meet(self._listening.accept()[0])
                far = socket.create_connection(("127.0.0.1", self._behind))
                self._open += (near, far)
                for way in ((near, far, self.asked), (far, near, self.answered)):
                    threading.Thread(target=_pass_on, args=way, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, hear: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            hear(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
