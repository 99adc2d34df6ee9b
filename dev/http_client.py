"""A client of Parley for `make demo` and the tests: HTTP, by the standard library."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SECONDS = 10.0
IDLE_SECONDS = 3.0  # the server hangs up on connections that were idle for five
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer; `body` is the parsed JSON, or the text when it is none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def data(self) -> Any:
        """Return the `data` of a success. Raises Unexpected when it is none."""
        if self.status >= 400:
            raise Unexpected(f"{self.status} {self.body}")
        return self.body["data"]

    @property
    def code(self) -> str | None:
        """Return the error code, or that of a 202."""
        return self.body.get("code") if isinstance(self.body, dict) else None


class Unexpected(Exception):
    """The server answered something else than the contract says."""


class Api:
    """One person's (or nobody's) HTTP connection."""

    def __init__(self, base_url: str, token: str | None = None, *, seconds: float = SECONDS) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        self._seconds = seconds
        self._connection: http.client.HTTPConnection | None = None  # made at the first call
        self._last_used = 0.0

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request to `/api/v1` + path (or to `path` itself when it is absolute) and return the answer."""
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        target = path.removeprefix("//") if path.startswith("//") else f"/api/v1{path}"
        return self._send(method, f"/{target.lstrip('/')}", data, sent)

    def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """POST; without a body an empty object."""
        return self.call("POST", path, {} if body is None and "raw" not in options else body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT."""
        return self.call("PUT", path, body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Answer:
        """PATCH."""
        return self.call("PATCH", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        """DELETE."""
        return self.call("DELETE", path, **options)

    def _send(self, method: str, target: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        if time.monotonic() - self._last_used > IDLE_SECONDS:
            self.close()
        self._last_used = time.monotonic()
        if self._connection is None:
            at = urlsplit(self.base_url)
            self._connection = http.client.HTTPConnection(at.hostname or "", at.port or 80, timeout=self._seconds)
        try:
            self._connection.request(method, target, data, headers)
            response = self._connection.getresponse()
            raw = response.read()
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        if response.will_close:
            self.close()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, parsed(raw))

    def close(self) -> None:
        """Hang up; the next call connects anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def __del__(self) -> None:
        self.close()


def parsed(raw: bytes) -> Any:
    """Return the JSON of a body, or its text when it is none."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
