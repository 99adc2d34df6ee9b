"""The least of HTTP and WebSocket that hundreds of clients in one loop need."""

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

from dev.process import LOOPBACK

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
HEAD_BYTES = 65_536
_short = Struct("!H")
_long = Struct("!Q")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `body` is the parsed envelope."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """Return the error code, or nothing."""
        return str(self.body.get("code") or "") if isinstance(self.body, dict) else ""

    @property
    def data(self) -> Any:
        """Return what a success holds."""
        return self.body["data"]


class Refused(Exception):
    """The server did not upgrade."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.code}")
        self.answer = answer


class Closed(Exception):
    """The WebSocket is over; `code` is 1006 when the connection just broke."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


async def request(
    port: int, method: str, path: str, body: Any = None, *, token: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one request on a connection of its own. Raises OSError when no whole answer came."""
    raw = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}", "Connection: close"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}"] if body is not None else []
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + raw)
        return await _answer(reader)
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        size = int(headers.get("content-length", 0)) if status != 101 else 0
        text = await reader.readexactly(size)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError) as broken:
        raise ConnectionError(f"no whole answer: {broken!r}") from None
    return Answer(status, headers, json.loads(text) if text else None)


class WebSocket:
    """An open WebSocket. One task reads; anybody writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._closed: Closed | None = None

    @classmethod
    async def open(cls, port: int, target: str, *, token: str = "", receive_buffer: int = 0) -> "WebSocket":
        """Connect and upgrade. Raises Refused, OSError."""
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(raw, (LOOPBACK, port))
        except BaseException:
            raw.close()
            raise
        reader, writer = await asyncio.open_connection(sock=raw, limit=receive_buffer or HEAD_BYTES)
        head = [f"GET {target} HTTP/1.1", f"Host: {LOOPBACK}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        head += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        head += [f"Authorization: Bearer {token}"] if token else []
        try:
            writer.write("\r\n".join([*head, "", ""]).encode())
            answer = await _answer(reader)
            if answer.status != 101:
                raise Refused(answer)
        except BaseException:
            writer.transport.abort()
            raise
        return cls(reader, writer)

    async def receive(self) -> list[bytes]:
        """Wait for text messages; pings are answered meanwhile. Raises Closed."""
        texts: list[bytes] = []
        while not texts:
            if self._closed is not None:
                raise self._closed
            try:
                data = await self._reader.read(HEAD_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                raise Closed(1006)
            self._buffer += data
            texts = self._messages()
        return texts

    def _messages(self) -> list[bytes]:
        texts = []
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                texts.append(payload)
            elif opcode == PING:
                self._write(PONG, payload)
            elif opcode == CLOSE:
                self._write(CLOSE, payload[:2])  # what came before it is handed out first
                self._closed = Closed(_short.unpack(payload[:2])[0] if len(payload) >= 2 else 1005)
        return texts

    def _frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size == 126:
            start = 4
            if len(buffer) < start:
                return None
            size = _short.unpack_from(buffer, 2)[0]
        elif size == 127:
            start = 10
            if len(buffer) < start:
                return None
            size = _long.unpack_from(buffer, 2)[0]
        if len(buffer) < start + size:
            return None
        frame = buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return frame

    def send(self, message: Any) -> None:
        """Send a JSON message."""
        self._write(TEXT, json.dumps(message, separators=(",", ":")).encode())

    def _write(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0xFE)) + _short.pack(size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n & 3] for n, byte in enumerate(payload))
        self._writer.write(head + mask + masked)

    def close(self, code: int = 1000) -> None:
        """Say goodbye, and hang up."""
        self._write(CLOSE, _short.pack(code))
        self._writer.close()

    def drop(self) -> None:
        """Hang up without a word."""
        self._writer.transport.abort()
