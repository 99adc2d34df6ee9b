"""The hub: this process's connections, by the streams they hear. It knows sockets and the ledger, and no Redis.

A topic is a stream somebody here listens to. Its `head` is the last number that was delivered; the ring holds the
latest events. A wake-up that is next in line is written out at once, one that is behind is dropped, and one that is
ahead means that something was missed: then, and only then, the ledger is read (promises 1.1 items 2 and 3).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from shared.core import ledger
from shared.core.errors import ServiceUnavailable
from shared.core.metrics import CONNECTIONS, FRAMES_OUT, GAPS
from shared.realtime import close_codes, effects
from shared.realtime.envelope import Wakeup, frame_of
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.frames import encode_text

log = logging.getLogger(__name__)

RING_SIZE = 2000
CHUNK = 500


class Line(NamedTuple):
    """An event ready for the sockets."""

    seq: int
    frame: bytes
    effect: str | None


class Topic:
    """A stream that somebody in this process hears."""

    __slots__ = ("audience", "head", "is_known", "key", "lock", "meeting_id", "members", "ring")

    def __init__(self, key: str, meeting_id: str) -> None:
        self.key = key
        self.meeting_id = meeting_id
        self.head = 0
        self.is_known = False  # whether `head` was read from the ledger
        self.ring: deque[Line] = deque(maxlen=RING_SIZE)
        self.members: dict[str, Connection] = {}
        self.audience: tuple[Connection, ...] = ()  # the members, for the fan-out loop; replaced, never changed
        self.lock = threading.RLock()

    def behind(self, seq: int) -> list[Line] | None:
        """Return the events behind `seq` from the ring, or None when it does not reach back that far."""
        if seq >= self.head:
            return []
        if not self.ring or self.ring[0].seq > seq + 1:
            return None
        return [line for line in self.ring if line.seq > seq]


class Hub:
    """All connections and topics of one process.

    `on_meeting` is called with a meeting's id and True when the first connection of it arrives, False after the last.
    """

    def __init__(self, runtime: Runtime, on_meeting: Callable[[str, bool], None]) -> None:
        self._runtime = runtime
        self._on_meeting = on_meeting
        self._lock = threading.RLock()
        self.connections: dict[str, Connection] = {}
        self.topics: dict[str, Topic] = {}
        self._meetings: dict[str, set[str]] = {}
        self.is_draining = False

    # --- connections

    def add(self, connection: Connection) -> bool:
        """Register a connection. False when this process is going away and takes no more."""
        with self._lock:
            if self.is_draining:
                return False
            self.connections[connection.id] = connection
            ids = self._meetings.setdefault(connection.meeting_id, set())
            ids.add(connection.id)
            is_first = len(ids) == 1
        CONNECTIONS.inc()
        if is_first:
            self._on_meeting(connection.meeting_id, True)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection and the topics nobody else hears."""
        with self._lock:
            if self.connections.pop(connection.id, None) is None:
                return
            for key in tuple(connection.streams):
                self._leave(connection, key)
            ids = self._meetings[connection.meeting_id]
            ids.discard(connection.id)
            is_last = not ids
            if is_last:
                del self._meetings[connection.meeting_id]
        CONNECTIONS.dec()
        if is_last:
            self._on_meeting(connection.meeting_id, False)

    def of_meeting(self, meeting_id: str) -> list[Connection]:
        """Return the connections of a meeting."""
        with self._lock:
            return [self.connections[id_] for id_ in self._meetings.get(meeting_id, ())]

    def everyone(self) -> list[Connection]:
        """Return all connections."""
        with self._lock:
            return list(self.connections.values())

    def drain(self) -> list[Connection]:
        """Take no more connections, and tell those that are here to go elsewhere. Returns them."""
        with self._lock:
            self.is_draining = True
            leaving = list(self.connections.values())
        for connection in leaving:
            connection.close(close_codes.GOING_AWAY, "restarting; come back with since")
        return leaving

    # --- streams

    def subscribe(self, connection: Connection, key: str, seq: int) -> None:
        """Let a connection hear a stream from behind `seq`: first what it missed, in order, then live.

        Raises ServiceUnavailable when the ledger is needed and does not answer.
        """
        while connection.closing_since is None:
            topic = self._topic(key, connection.meeting_id)
            with topic.lock:
                if topic.is_known and self._attach(connection, topic, seq):
                    return
            lines = self._read(key, seq, CHUNK)
            self._write(connection, lines)
            seq = lines[-1].seq if lines else seq
            if len(lines) < CHUNK:
                with topic.lock:
                    if not topic.is_known:
                        topic.head, topic.is_known = seq, True
                        topic.ring.extend(lines)

    def _attach(self, connection: Connection, topic: Topic, seq: int) -> bool:
        """Make a newcomer a member who has heard everything up to `seq`. The caller holds the topic's lock.

        False when the ring does not reach back to `seq`, or the topic was dropped meanwhile.
        """
        while topic.head < seq and (lines := self._read(topic.key, topic.head, CHUNK)):
            self._advance(topic, lines)
        missed = topic.behind(seq)
        if missed is None:
            return False
        with self._lock:
            if self.topics.get(topic.key) is not topic:
                return False
            topic.members[connection.id] = connection
            topic.audience = tuple(topic.members.values())
            connection.streams.add(topic.key)
        self._write(connection, missed)
        return True

    def _topic(self, key: str, meeting_id: str) -> Topic:
        with self._lock:
            return self.topics.setdefault(key, Topic(key, meeting_id))

    def _leave(self, connection: Connection, key: str) -> None:
        connection.streams.discard(key)
        topic = self.topics.get(key)
        if topic is not None:
            topic.members.pop(connection.id, None)
            topic.audience = tuple(topic.members.values())
            if not topic.members:
                del self.topics[key]

    def _read(self, key: str, seq: int, limit: int) -> list[Line]:
        with self._runtime.reading() as tx:
            entries = ledger.read(tx.connection, key, seq, limit)
        return [Line(e.seq, encode_text(frame_of(e)), e.effect) for e in entries]

    @staticmethod
    def _write(connection: Connection, lines: Sequence[Line]) -> None:
        if not lines:
            return
        while not connection.has_room() and connection.closing_since is None:
            time.sleep(0.01)  # a long replay goes at the reader's pace; its send deadline ends this
        connection.write(b"".join(line.frame for line in lines))
        FRAMES_OUT.inc(len(lines))

    # --- delivery

    def deliver(self, wakeups: Iterable[Wakeup]) -> list[Topic]:
        """Write wake-ups to the sockets, those of one stream together. Returns topics that missed something."""
        by_topic: dict[str, list[Wakeup]] = {}
        for wakeup in wakeups:
            if wakeup.stream in self.topics:
                by_topic.setdefault(wakeup.stream, []).append(wakeup)
        torn = []
        for key, group in by_topic.items():
            topic = self.topics.get(key)
            if topic is not None and not self._deliver_to(topic, group):
                torn.append(topic)
        return torn

    def _deliver_to(self, topic: Topic, group: Sequence[Wakeup]) -> bool:
        with topic.lock:
            fresh: list[Line] = []
            head = topic.head
            for wakeup in group:
                if wakeup.seq == 0:
                    fresh.append(Line(0, encode_text(wakeup.frame), None))
                elif wakeup.seq == head + 1:
                    head += 1
                    fresh.append(Line(head, encode_text(wakeup.frame), wakeup.effect))
                elif wakeup.seq > head:
                    self._advance(topic, fresh)
                    return False
            self._advance(topic, fresh)
            return True

    def _advance(self, topic: Topic, lines: Sequence[Line]) -> None:
        """Give lines to all members in one write each, and remember them. The caller holds the topic's lock."""
        if not lines:
            return
        data = b"".join(line.frame for line in lines) if len(lines) > 1 else lines[0].frame
        for connection in topic.audience:
            connection.write(data)
        FRAMES_OUT.inc(len(lines) * len(topic.audience))
        for line in lines:
            if line.seq:
                topic.ring.append(line)
                topic.head = line.seq
            if line.effect:
                self._apply(topic, effects.parse(line.effect))

    def _apply(self, topic: Topic, effect: effects.Effect) -> None:
        if effect.kind == "redact":
            topic.ring.clear()
        elif effect.kind == "end":
            for connection in self.of_meeting(topic.meeting_id):
                connection.close(effect.code, "the meeting has ended")
        elif effect.kind == "gone":
            for connection in self.of_meeting(topic.meeting_id):
                if connection.participant_id == effect.target:
                    connection.close(effect.code, "you have left")

    def catch_up(self, topics: Iterable[Topic] | None = None) -> None:
        """Read from the ledger what was missed, in one query for the heads and one for each stream that is behind.

        Does nothing while the ledger does not answer; it is called again.
        """
        wanted = {t.key: t for t in (self.topics.copy().values() if topics is None else topics) if t.is_known}
        if not wanted:
            return
        try:
            with self._runtime.reading() as tx:
                heads = ledger.heads(tx.connection, wanted)
            for key, head in heads.items():
                while wanted[key].head < head and self._repair(wanted[key]):
                    pass
        except ServiceUnavailable:
            log.warning("catch_up_postponed", extra={"topics": len(wanted)})

    def _repair(self, topic: Topic) -> bool:
        with topic.lock:
            lines = self._read(topic.key, topic.head, CHUNK)
            GAPS.inc(len(lines))
            self._advance(topic, lines)
            return bool(lines)
