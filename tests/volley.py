"""Many requests at the same moment: each over a connection that is open already, all written before any is read.

One thread and a selector, so that the sender costs the machine little and no request waits for another's answer.

A process works on a few requests at once and lets a few more wait; on a slow machine the last of two hundred are told
to come back. They do, as the contract tells clients to, after Retry-After and again all at once. Only what admission
refused is sent again: of that nothing was done, so that every other answer is the first one to its request.
"""

import json
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from web.http.admission import TOO_MANY

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Shot:
    """A request: to which process, as whom, what."""

    base_url: str
    token: str | None
    path: str
    method: str = "POST"
    body: Any = None

    def encoded(self) -> bytes:
        """Return the request as it goes over the connection."""
        data = json.dumps({} if self.body is None else self.body).encode()
        credential = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        head = (
            f"{self.method} /api/v1{self.path} HTTP/1.1\r\nHost: {urlsplit(self.base_url).netloc}\r\n{credential}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + data


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer, and how many seconds after the first request was written it was complete.

    `retry_after` is how many seconds admission asks to wait; 0 when the request was let in.
    """

    status: int
    body: Any
    seconds: float
    retry_after: int = 0

    @property
    def code(self) -> Any:
        """Return the error code."""
        return self.body.get("code")


def volley(shots: Sequence[Shot]) -> list[Hit]:
    """Send all requests at once, and those that were not let in again; return their answers in the same order."""
    began = time.perf_counter()
    hits = _salvo(shots)
    while again := [index for index, hit in enumerate(hits) if hit.retry_after]:
        time.sleep(max(hits[index].retry_after for index in again))
        waited = time.perf_counter() - began
        if waited > SECONDS:
            raise TimeoutError(f"{len(again)} of {len(shots)} requests were not let in")
        for index, hit in zip(again, _salvo([shots[index] for index in again]), strict=True):
            hits[index] = replace(hit, seconds=waited + hit.seconds)
    return hits


def _salvo(shots: Sequence[Shot]) -> list[Hit]:
    connections = [_connect(shot) for shot in shots]
    ready = [(connection, shot.encoded()) for connection, shot in zip(connections, shots, strict=True)]
    time.sleep(0.05)  # the servers accept meanwhile
    began = time.perf_counter()
    for connection, data in ready:
        connection.sendall(data)
    received = [bytearray() for _ in shots]
    seconds = [0.0] * len(shots)
    with selectors.DefaultSelector() as selector:
        for index, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ, index)
        while selector.get_map():
            events = selector.select(SECONDS)
            if not events:
                raise TimeoutError(f"{len(selector.get_map())} of {len(shots)} requests were not answered")
            for key, _ in events:
                chunk = connections[key.data].recv(65536)
                received[key.data] += chunk
                if not chunk:
                    seconds[key.data] = time.perf_counter() - began
                    selector.unregister(key.fileobj)
    for connection in connections:
        connection.close()
    return [_hit(bytes(answer), at) for answer, at in zip(received, seconds, strict=True)]


def _connect(shot: Shot) -> socket.socket:
    at = urlsplit(shot.base_url)
    connection = socket.create_connection((at.hostname or "", at.port or 80), timeout=SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _hit(answer: bytes, seconds: float) -> Hit:
    head, _, raw = answer.partition(b"\r\n\r\n")
    status, body = int(head.split(b" ", 2)[1]), json.loads(raw)
    if status != 503 or body["message"] != TOO_MANY:
        return Hit(status, body, seconds)
    lines = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    return Hit(status, body, seconds, int(lines["retry-after"]))
