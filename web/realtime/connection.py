"""One WebSocket: what is known about its owner, and the only way to write to it.

Frames go straight to the socket without blocking. Only when the kernel's buffer is full do they wait in an outbox that
a thread of its own empties; an owner who reads too slowly for too long is cut off, and nobody else notices
(promises M9, M21 to M23; performance.md section 8).
"""

import _thread
import contextlib
import os
import select
import socket
import threading
import time
from typing import Any, Protocol

from shared.core.greenlets import patched_hub
from shared.identity.actor import Actor
from shared.realtime import close_codes
from web.realtime.frame_types import Sender
from web.realtime.frames import encode_close

OUTBOX_LIMIT_BYTES = 1024 * 1024
SEND_DEADLINE_SECONDS = 5.0
CLOSE_GRACE_SECONDS = 2.0
LINGER_BYTES = 65_536

_GEVENT = patched_hub()


class RawSocket(Protocol):
    """What is used of a socket; gevent's has the operating system's under `_sock`."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, seconds: float, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...


class Connection:
    """A participant's open WebSocket. All methods may be called from any thread or greenlet."""

    __slots__ = (
        "_can_block",
        "_draining",
        "_lock",
        "_outbox",
        "_outbox_bytes",
        "_readable",
        "_send",
        "_sock",
        "actor",
        "address",
        "close_code",
        "closing_since",
        "expires_at",
        "fileno",
        "has_said_goodbye",
        "id",
        "last_heard",
        "meeting_id",
        "next_ping",
        "participant_id",
        "sender",
        "topics",
    )

    def __init__(
        self,
        id_: str,
        meeting_id: str,
        participant_id: str,
        actor: Actor,
        sock: Any,
        *,
        address: str,
        expires_at: float,
    ) -> None:
        self.id = id_
        self.meeting_id = meeting_id
        self.participant_id = participant_id
        self.actor = actor
        self.sender = Sender(meeting_id, participant_id, actor)
        self.address = address
        self.expires_at = expires_at
        self.last_heard = time.monotonic()
        self.next_ping: float | None = None  # by the monotonic clock; see web.realtime.heartbeat
        self.closing_since: float | None = None
        self.close_code: int | None = None
        self.has_said_goodbye = False  # the peer, by a close frame
        self.topics: dict[str, Any] = {}  # those it hears, by key; see web.realtime.topic
        self.fileno = sock.fileno()
        self._sock: RawSocket = sock
        self._send = getattr(sock, "_sock", sock).send
        # gevent's watcher of a socket that has one: see `receive`
        self._readable = None if _GEVENT is None else getattr(sock, "_read_event", None)
        self._can_block = os.get_blocking(self.fileno)  # under gevent no socket can
        self._outbox: list[bytes] = []  # no deque: that would be 600 bytes for each idle socket
        self._outbox_bytes = 0
        self._lock = threading.Lock()
        self._draining = False

    @property
    def is_clear(self) -> bool:
        """Tell whether frames may go straight to the socket: nothing waits, and writing cannot block."""
        return not self._outbox and self.closing_since is None and not self._can_block

    def take_rest(self, data: bytes, sent: int) -> None:
        """Go on where a straight write of `data` ended: after `sent` bytes, or with a broken socket (-1)."""
        with self._lock:
            if sent < 0:
                self._give_up()
            elif self.closing_since is None:
                self._queue(data[sent:])

    def _changed(self) -> None:
        for topic in self.topics.values():
            topic.is_stale = True

    def write(self, data: bytes) -> None:
        """Send whole frames, or queue them behind what is waiting. Never blocks, never raises."""
        with self._lock:
            if self.closing_since is None:
                self._write(data)

    def _write(self, data: bytes) -> None:
        if not self._outbox:
            try:
                sent = self._send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._give_up()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._queue(data)

    def _queue(self, data: bytes) -> None:
        if not self._outbox:
            self._changed()
        self._outbox.append(data)
        self._outbox_bytes += len(data)
        if self._outbox_bytes > OUTBOX_LIMIT_BYTES:
            self._overflow()
        if not self._draining:
            self._draining = True
            _thread.start_new_thread(self._drain, ())  # unlike Thread.start, it waits for nothing

    def _overflow(self) -> None:
        # What stands first may be the rest of a frame that is half out; it must end before the close frame begins.
        first = self._outbox.pop(0)
        self._outbox.clear()
        close = encode_close(close_codes.TOO_FAST_OR_SLOW, "you read too slowly; come back with since")
        self._outbox.extend((first, close))
        self._outbox_bytes = len(first) + len(close)
        self._mark_closing(close_codes.TOO_FAST_OR_SLOW)

    def _drain(self) -> None:
        poll = select.poll()
        try:
            poll.register(self._sock.fileno(), select.POLLOUT)
        except (OSError, ValueError):
            self.abort()
            return
        deadline = time.monotonic() + SEND_DEADLINE_SECONDS
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poll.poll(remaining * 1000):
                self._too_slow()
                return
            with self._lock:
                if not self._outbox:
                    self._draining = False
                    self._changed()
                    return
                head = self._outbox[0]
                try:
                    sent = self._send(head, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    continue
                except OSError:
                    self._give_up()
                    return
                self._outbox_bytes -= sent
                if sent == len(head):
                    self._outbox.pop(0)
                else:
                    self._outbox[0] = head[sent:]
                deadline = time.monotonic() + SEND_DEADLINE_SECONDS

    def _too_slow(self) -> None:
        with self._lock:
            self._mark_closing(close_codes.TOO_FAST_OR_SLOW)
            self._give_up()

    def has_room(self) -> bool:
        """Tell whether the outbox is nearly empty; a replay of many events waits for that."""
        return self._outbox_bytes < OUTBOX_LIMIT_BYTES // 4

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame behind what is waiting. The peer's answer, or `expire`, ends the connection."""
        with self._lock:
            if self.closing_since is None:
                self._write(encode_close(code, reason))
                self._mark_closing(code)

    def _mark_closing(self, code: int) -> None:
        if self.closing_since is None:
            self.closing_since = time.monotonic()
            self.close_code = code
            self._changed()

    def expire(self, now: float) -> None:
        """End a connection whose close frame was not answered in time; who has been silent is not waited for."""
        grace = 0.0 if self.close_code == close_codes.STALE else CLOSE_GRACE_SECONDS
        if self.closing_since is not None and now - self.closing_since > grace:
            self.abort()

    def abort(self) -> None:
        """Shut the socket down: the reader wakes up and ends."""
        with self._lock:
            self._give_up()

    def _give_up(self) -> None:
        if self.closing_since is None:
            self.closing_since = time.monotonic()
            self._changed()
        self._outbox.clear()
        self._outbox_bytes = 0
        with contextlib.suppress(OSError):  # the peer was faster
            self._sock.shutdown(socket.SHUT_RDWR)

    def receive(self, size: int) -> bytes:
        """Wait for bytes; empty when the connection is over.

        Under gevent, recv alone would give way to nobody while there are bytes, as a flooder sees to it; and it would
        first try in vain, for mostly there is nothing yet.
        """
        if self._readable is not None:
            try:
                _GEVENT.get_hub().wait(self._readable)
            except OSError:  # the socket was closed under who waits
                return b""
        return self._read(size)

    def _read(self, size: int) -> bytes:
        try:
            data = self._sock.recv(size)
        except OSError:
            return b""
        self.last_heard = time.monotonic()
        return data

    def linger(self) -> None:
        """Read until the peer has seen the close frame and hung up, or its time is over. Called by the reader.

        Whoever has sent a close frame waits for us to hang up (RFC 6455 section 7.1.1).
        """
        if self.closing_since is None or self.has_said_goodbye:
            return
        deadline = self.closing_since + CLOSE_GRACE_SECONDS
        with contextlib.suppress(OSError):
            while (remaining := deadline - time.monotonic()) > 0:
                self._sock.settimeout(remaining)
                if not self._read(LINGER_BYTES):
                    return
