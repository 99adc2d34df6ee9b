"""A bucket: PUT and GET as S3 answers them, on a real socket; it can fail as often as a test wants."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FakeBucket:
    """Objects by path; `failures` is how many of the next requests are answered 503."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.authorizations: list[str] = []
        self.failures = 0
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
                self.send_header("Last-Modified", "Thu, 26 Nov 2026 12:00:00 GMT")
                self.end_headers()
                self.wfile.write(body)

            def _is_refused(self) -> bool:
                bucket.authorizations.append(self.headers.get("Authorization", ""))
                if bucket.failures == 0:
                    return False
                bucket.failures -= 1
                self._answer(503)
                return True

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not self._is_refused():
                    bucket.objects[self.path] = body
                    self._answer(200)

            def do_GET(self) -> None:
                if self._is_refused():
                    return
                found = bucket.objects.get(self.path)
                if found is None:
                    self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                else:
                    self._answer(200, found)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeBucket":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
