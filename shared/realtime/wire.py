"""A Redis connection spoken to directly, for the two roads on which every event travels.

redis-py sets it up (address, password, TLS, time limits); commands are packed and answers parsed in bulk by hiredis.
Through redis-py's own calls a message costs 80 us to publish and 60 us to receive, here 3 us each, in a batch.
"""

import contextlib
import ssl
import time
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.core.greenlets import await_readable, give_way, patched_hub

CHUNK_BYTES = 65_536
READS = 16
NOTHING_THERE = (BlockingIOError, ssl.SSLWantReadError)


def pack_publish(channel: bytes, message: bytes) -> bytes:
    """Return `PUBLISH channel message` as bytes."""
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(message), message)


def pack(*words: bytes) -> bytes:
    """Return a command as bytes."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Wire:
    """One connection, open from the start; `seconds` bound connecting and every wait. Not thread-safe.

    All methods raise redis.RedisError or OSError when the connection is of no use any more.
    """

    def __init__(self, url: str, seconds: float) -> None:
        pool: Any = redis.ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._connection = pool.make_connection()
        self._connection.connect()
        self._socket = self._connection._sock
        self._seconds = seconds
        self._reader = hiredis.Reader()
        # Under gevent: the socket itself, which cannot block, and its watcher. TLS may hold what is here; there not.
        self._bare: Any = None
        if patched_hub() is not None and not isinstance(self._socket, ssl.SSLSocket):
            self._bare, self._readable = self._socket._sock, self._socket._read_event

    def send(self, commands: bytes) -> None:
        """Send packed commands."""
        if self._bare is not None:  # mostly there is room, and gevent's sendall costs more than the system call
            with contextlib.suppress(BlockingIOError):
                commands = commands[self._bare.send(commands) :]
        if commands:
            self._socket.sendall(commands)

    def receive(self, seconds: float) -> list[Any]:
        """Return all answers that are here; wait for the first whole one up to `seconds`. Empty when none came.

        Gives way to others in any case: under load there is always more to read.
        """
        until = time.monotonic() + seconds
        while True:
            answers = self._wait(max(0.0, until - time.monotonic()))
            self._read_on(answers)  # also after the time: a busy process looks at the clock first
            if answers or time.monotonic() >= until:
                return answers

    def receive_now(self) -> list[Any]:
        """Return all answers that are here."""
        answers: list[Any] = []
        self._read_on(answers)
        return answers

    def _read_on(self, answers: list[Any]) -> None:
        """Add to answers those that are here."""
        for _ in range(1 if self._bare is not None else READS):  # one brings no more than one record of TLS
            try:
                data = self._receive(0.0)
            except NOTHING_THERE:
                break
            if answers and not data:
                break  # the next call says so
            answers += self._answers(data)

    def _wait(self, seconds: float) -> list[Any]:
        """Wait until something is here; return what had to be read for that."""
        if self._bare is not None:
            await_readable(self._readable, seconds)
            return []
        try:
            answers = self._answers(self._receive(seconds))
        except (TimeoutError, *NOTHING_THERE):
            return []
        give_way()
        return answers

    def _receive(self, seconds: float) -> bytes:
        if self._bare is not None:
            return bytes(self._bare.recv(CHUNK_BYTES))
        self._socket.settimeout(seconds)
        try:
            return bytes(self._socket.recv(CHUNK_BYTES))
        finally:
            self._socket.settimeout(self._seconds)

    def _answers(self, data: bytes) -> list[Any]:
        if not data:
            raise redis.ConnectionError("Redis hung up")
        self._reader.feed(data)
        answers = []
        while (answer := self._reader.gets()) is not False:
            answers.append(answer)
        return answers

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()
