"""A LiveKit server's room API, as far as workers call it: notes the calls, and answers what it is told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from livekit import api


class FakeTwirp:
    """`with FakeTwirp() as livekit: …`; `livekit.url` goes into the settings."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.error: tuple[int, str] | None = None  # HTTP status and Twirp code
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Return the address as LIVEKIT_SERVER_URL wants it."""
        return f"ws://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Authorization"].startswith("Bearer ey")
                assert self.path == "/twirp/livekit.RoomService/DeleteRoom"
                fake.deleted.append(api.DeleteRoomRequest.FromString(body).room)
                status, answer, kind = 200, b"", "application/protobuf"
                if fake.error is not None:
                    status, code = fake.error
                    answer, kind = json.dumps({"code": code, "msg": "as told"}).encode(), "application/json"
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
