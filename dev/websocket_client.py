"""A client of Parley for `make demo` and the tests: the WebSocket, by wsproto.

Single-threaded and pull-driven: a socket reads (and answers pings) only while somebody waits for a frame.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from dev.http_client import SECONDS, Answer, Json, Unexpected, parsed


class Refused(Exception):
    """The upgrade was refused; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body}")
        self.answer = answer


class Closed(Exception):
    """The server closed the WebSocket; `code` is 1006 when it just hung up."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """A WebSocket in a meeting. The constructor returns once the upgrade was accepted, or raises Refused."""

    def __init__(
        self,
        base_url: str,
        meeting_id: str,
        *,
        token: str | None = None,
        ticket: str | None = None,
        since: str | None = None,
        epoch: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        at = urlsplit(base_url)
        given = {"ticket": ticket, "since": since, "epoch": epoch, **(query or {})}
        asked = urlencode({name: value for name, value in given.items() if value is not None})
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        self.welcome: Json = {}
        self._frames: list[Json] = []
        self.heard: list[Json] = []  # every frame so far, also those that were dropped while waiting for another
        self._closed: Closed | None = None
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._socket = socket.create_connection((at.hostname, at.port or 80), timeout=SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._upgrade(f"/ws/meetings/{meeting_id}?{asked}".rstrip("?"), at.netloc, sent)
        except BaseException:
            self._socket.close()
            raise

    def _upgrade(self, target: str, host: str, headers: Mapping[str, str]) -> None:
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._socket.sendall(self._protocol.send(Request(host=host, target=target, extra_headers=extra)))
        refusal: RejectConnection | None = None
        body = b""
        while True:
            received = self._socket.recv(65536)
            with suppress(ProtocolError):
                self._protocol.receive_data(received or None)
            is_accepted = False
            for event in self._protocol.events():
                is_accepted = is_accepted or isinstance(event, AcceptConnection)
                self._take(event)  # the first frames may come in one piece with the answer
                if isinstance(event, RejectConnection):
                    refusal = event
                if isinstance(event, RejectData):
                    body += event.data
                    if event.body_finished:
                        received = b""
            if is_accepted:
                return
            if not received:
                break
        if refusal is None:
            raise Closed(1006, "no answer to the upgrade")
        answered = {bytes(k).decode().lower(): bytes(v).decode() for k, v in refusal.headers}
        raise Refused(Answer(refusal.status_code, answered, parsed(body)))

    @classmethod
    def open(cls, base_url: str, meeting_id: str, **options: Any) -> Self:
        """Connect and read the welcome."""
        opened = cls(base_url, meeting_id, **options)
        opened.welcome = opened.receive()
        if opened.welcome.get("type") != "welcome":
            raise Unexpected(f"the first frame was {opened.welcome}")
        return opened

    def send(self, type_: str, data: Any = None, id_: Any = None) -> None:
        """Send a frame."""
        frame: Json = {"type": type_, "data": {} if data is None else data}
        if id_ is not None:
            frame["id"] = id_
        self.send_text(json.dumps(frame))

    def send_text(self, text: str) -> None:
        """Send a text message as it is. Raises Closed when it is known that the server has closed."""
        if self._closed is not None:
            raise self._closed
        self._socket.sendall(self._protocol.send(TextMessage(data=text)))

    def send_binary(self, data: bytes) -> None:
        """Send a binary message."""
        self._socket.sendall(self._protocol.send(BytesMessage(data=data)))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes past the protocol."""
        self._socket.sendall(data)

    def receive(self, seconds: float = SECONDS) -> Json:
        """Return the next frame. Raises TimeoutError, Closed."""
        until = time.monotonic() + seconds
        while not self._frames:
            if self._closed is not None:
                raise self._closed
            remaining = until - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("no frame came")
            self._read(remaining)
        return self._frames.pop(0)

    def until(self, wanted: str | Callable[[Json], bool], seconds: float = SECONDS) -> Json:
        """Return the next frame of a type (or for which a function says yes), dropping those before it."""
        until = time.monotonic() + seconds
        while True:
            frame = self.receive(max(0.0, until - time.monotonic()))
            if frame["type"] == wanted if isinstance(wanted, str) else wanted(frame):
                return frame

    def request(self, type_: str, data: Any = None, id_: Any = "1", seconds: float = SECONDS) -> Json:
        """Send a frame with an id and return its ack or error; other frames stay to be received."""
        self.send(type_, data, id_)
        kept: list[Json] = []
        try:
            while True:
                frame = self.receive(seconds)
                if frame["type"] in ("ack", "error") and frame["id"] in (id_, None):
                    return frame
                kept.append(frame)
        finally:
            self._frames[:0] = kept

    def drain(self, seconds: float = 0.3) -> list[Json]:
        """Return all frames until nothing comes for `seconds`."""
        frames = []
        with suppress(TimeoutError, Closed):
            while True:
                frames.append(self.receive(seconds))
        return frames

    def closed(self, seconds: float = SECONDS) -> Closed:
        """Wait for the server to close and return how; frames before it are dropped. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.receive(max(0.0, until - time.monotonic()))
            except Closed as closed:
                return closed

    def _read(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            self._closed = self._closed or Closed(1006, "the connection broke")
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, TextMessage):
            self._text = getattr(self, "_text", "") + event.data
            if event.message_finished:
                self._frames.append(json.loads(self._text))
                self.heard.append(self._frames[-1])
                self._text = ""
        elif isinstance(event, Ping):
            with suppress(OSError):  # the server hung up; what it had sent before is still to be read
                self._socket.sendall(self._protocol.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._closed = Closed(event.code, event.reason or "")
            with suppress(OSError):
                self._socket.sendall(self._protocol.send(event.response()))

    def close(self, code: int = 1000) -> None:
        """Close politely."""
        with suppress(Exception):
            self._socket.sendall(self._protocol.send(CloseConnection(code=code)))
        self.drop()

    def drop(self) -> None:
        """Cut the connection, as a dead network would."""
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
