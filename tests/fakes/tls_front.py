"""What stands before a server that speaks plainly, and speaks TLS to its clients."""

import socket
import ssl
from pathlib import Path

from tests.fakes.front import Front


class TlsFront(Front):
    """Passes what it hears on, decrypted. A context manager."""

    def __init__(self, certificate: Path, port: int) -> None:
        super().__init__(port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def meet(self, taken: socket.socket) -> socket.socket:
        """Return the socket that speaks TLS."""
        return self._context.wrap_socket(taken, server_side=True)
