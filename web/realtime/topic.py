"""A topic: a stream that somebody in this process hears, its latest events, and who hears it."""

import os
import threading
from _thread import RLock
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from web.realtime.connection import Connection

RING_SIZE = 2000


class Line(NamedTuple):
    """An event ready for the sockets."""

    seq: int
    frame: bytes
    effect: str | None


class Topic:
    """One stream. Whoever changes it holds `lock`, and never waits for the database or a socket while doing so.

    `head` is the last number that was delivered. As long as the topic is not known, nothing was: then `head` is the
    highest number that was heard of.
    """

    __slots__ = (
        "_clear",
        "_congested",
        "_fds",
        "_filling",
        "expected",
        "head",
        "is_known",
        "is_stale",
        "key",
        "lock",
        "meeting_id",
        "members",
        "redactions",
        "ring",
    )

    def __init__(self, key: str, meeting_id: str) -> None:
        self.key = key
        self.meeting_id = meeting_id
        self.head = 0
        self.is_known = False
        self.ring: deque[Line] = deque(maxlen=RING_SIZE)
        self.members: dict[str, Connection] = {}
        self.expected = 0  # how many are about to become members
        # The operating system's, also under gevent: whoever holds it gives way to nobody, so that greenlets never meet
        # at it, and gevent's own, which is written in Python, costs more than half of a fan-out to ten people.
        self.lock = RLock()
        self.redactions = 0  # how often the ring was emptied because a text in it is no more
        # The members once more, as the fan-out needs them; sorted anew when `is_stale` says that one has changed.
        self.is_stale = False
        self._clear: Sequence[Connection] = ()
        self._fds: Sequence[int] = ()
        self._congested: Sequence[Connection] = ()
        self._filling: threading.Lock | None = None

    def enter(self, connection: Connection) -> None:
        """Make a connection a member."""
        self.members[connection.id] = connection
        connection.topics[self.key] = self
        self.is_stale = True

    def leave(self, connection: Connection) -> None:
        """Make a connection no member."""
        self.members.pop(connection.id, None)
        connection.topics.pop(self.key, None)
        self.is_stale = True

    def write(self, data: bytes) -> None:
        """Give whole frames to every member. Never blocks.

        Most members have nothing waiting: for them it is one system call each, driven from C. Who has, or whose kernel
        buffer is full, goes the way of Connection.write, and harms nobody else.
        """
        if self.is_stale:
            self._sort()
        sent: list[int] = []
        rest = iter(self._fds)
        while True:
            try:
                sent.extend(map(os.write, rest, repeat(data)))
                break
            except BlockingIOError:
                sent.append(0)
            except OSError:
                sent.append(-1)
        size = len(data)
        if sent.count(size) != len(sent):
            for connection, count in zip(self._clear, sent, strict=True):
                if count != size:
                    connection.take_rest(data, count)
        for connection in self._congested:
            connection.write(data)

    def _sort(self) -> None:
        self.is_stale = False
        self._clear = [connection for connection in self.members.values() if connection.is_clear]
        self._fds = [connection.fileno for connection in self._clear]
        self._congested = [connection for connection in self.members.values() if not connection.is_clear]

    def behind(self, seq: int) -> list[Line] | None:
        """Return the events behind `seq`, or None when they have to be read from the ledger."""
        if not self.is_known:
            return None
        if seq >= self.head:
            return []
        if not self.ring or self.ring[0].seq > seq + 1:
            return None
        return [line for line in self.ring if line.seq > seq]

    def filling(self) -> threading.Lock:
        """Return the lock that is held while the ledger is read for the ring. Never held together with `lock`."""
        with self.lock:
            self._filling = self._filling or threading.Lock()
            return self._filling

    def put_before(self, lines: Sequence[Line]) -> None:
        """Lengthen the ring backwards by lines that end where it begins, as far as there is room."""
        if not self.is_known:
            return
        first = self.ring[0].seq if self.ring else self.head + 1
        older = [line for line in lines if line.seq < first]
        room = RING_SIZE - len(self.ring)
        if older and older[-1].seq == first - 1 and room > 0:
            self.ring.extendleft(reversed(older[-room:]))

    def hear_of(self, seq: int) -> None:
        """Remember that the stream goes to `seq` at least, until the topic is known."""
        if not self.is_known:
            self.head = max(self.head, seq)

    def learn(self, seq: int, lines: Sequence[Line]) -> None:
        """Begin with `lines`, which are all that the ledger had behind `seq`: unless a later event was heard of since,
        for then the ledger has to be read again."""
        last = lines[-1].seq if lines else seq
        if not self.is_known and last >= self.head:
            self.head, self.is_known = last, True
            self.ring.extend(lines)
