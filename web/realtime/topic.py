"""A topic: a stream that somebody in this process hears, its latest events, and who hears it."""

import threading
from collections import deque
from collections.abc import Sequence
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

    __slots__ = ("audience", "head", "is_known", "key", "lock", "meeting_id", "members", "ring")

    def __init__(self, key: str, meeting_id: str) -> None:
        self.key = key
        self.meeting_id = meeting_id
        self.head = 0
        self.is_known = False
        self.ring: deque[Line] = deque(maxlen=RING_SIZE)
        self.members: dict[str, Connection] = {}
        self.audience: tuple[Connection, ...] = ()  # the members, for the fan-out loop; replaced, never changed
        self.lock = threading.RLock()

    def enter(self, connection: Connection) -> None:
        """Make a connection a member."""
        self.members[connection.id] = connection
        self.audience = tuple(self.members.values())

    def leave(self, connection: Connection) -> None:
        """Make a connection no member."""
        self.members.pop(connection.id, None)
        self.audience = tuple(self.members.values())

    def behind(self, seq: int) -> list[Line] | None:
        """Return the events behind `seq`, or None when they have to be read from the ledger."""
        if not self.is_known:
            return None
        if seq >= self.head:
            return []
        if not self.ring or self.ring[0].seq > seq + 1:
            return None
        return [line for line in self.ring if line.seq > seq]

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
