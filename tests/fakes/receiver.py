"""A receiver of webhooks on the loopback: notes what comes, checks it as the standard says, and fails when told to."""

import json
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Fault = Callable[[BaseHTTPRequestHandler], bool]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that came: what it said, whether it was taken (2xx), and when it was answered, by both clocks."""

    path: str
    headers: dict[str, str]
    raw: bytes
    taken: bool
    at: float = field(default_factory=time.time)
    moment: float = field(default_factory=time.monotonic)

    @property
    def body(self) -> dict[str, Any]:
        """Return the JSON of the body."""
        return dict(json.loads(self.raw))

    @property
    def id(self) -> str:
        """Return `webhook-id`."""
        return self.headers["webhook-id"]


class Receiver:
    """Serves on a free port, over TLS if it is given a context. `status` is what it answers; `fault` may answer in its
    place, and says whether it did.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status = 204
        self.fault: Fault = lambda _: False
        self.arrivals: list[Arrival] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if receiver.fault(self):
                    receiver.arrivals.append(Arrival(self.path, headers, raw, taken=False))
                    self.close_connection = True
                    return
                status = receiver.status
                receiver.arrivals.append(Arrival(self.path, headers, raw, taken=200 <= status < 300))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                return  # the sender hung up, which is its right

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    def told(self, *, taken: bool = True) -> list[tuple[str, int]]:
        """Return event and number of what came and was taken, or of all that came."""
        return [(a.body["event"], a.body["seq"]) for a in self.arrivals if a.taken or not taken]


def flapping(share: float, seed: int) -> Fault:
    """Return a fault that hits such a share of the requests: an error, or a hang-up without an answer."""
    dice = random.Random(seed)

    def fault(request: BaseHTTPRequestHandler) -> bool:
        if dice.random() >= share:
            return False
        if dice.random() < 0.5:
            request.wfile.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        return True

    return fault


def raw_answer(*parts: bytes, pause: float = 0.0) -> Fault:
    """Return a fault that answers with these bytes, with a pause before each part."""

    def fault(request: BaseHTTPRequestHandler) -> bool:
        for part in parts:
            time.sleep(pause)
            request.wfile.write(part)
            request.wfile.flush()
        return True

    return fault
