"""The hub: this process's connections, by the streams they hear. It knows sockets and the ledger, and no Redis.

A wake-up that is next in line on its topic is written out at once, one that is behind is dropped, and one that is ahead
means that something was missed: then, and only then, the ledger is read (promises 1.1 items 2 and 3).
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, islice

from shared.core import ledger
from shared.core.errors import ServiceUnavailable
from shared.core.ledger import Entry
from shared.core.metrics import CONNECTIONS, GAPS
from shared.realtime import close_codes, effects
from shared.realtime.envelope import Wakeup, frame_of
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.frames import encode_text
from web.realtime.replay import PIECE_BYTES, heed, pieces_of, size_of
from web.realtime.tally import TALLY
from web.realtime.topic import Line, Topic

log = logging.getLogger(__name__)

CHUNK = 500
TURN_WRITES = 500  # sockets that are written to before others get their turn: a few milliseconds
STREAMS_AT_ONCE = 200
BACKFILL = 200  # events before the one that is asked for, of use to others whose cursors stand a little behind


def _line_of(entry: Entry) -> Line:
    return Line(entry.seq, encode_text(frame_of(entry)), entry.effect)


class Hub:
    """All connections and topics of one process.

    `on_meeting` is called with a meeting's id and True when the first connection of it arrives, False after the last.
    The calls for one meeting may come in another order than it happened; their sum is right.
    """

    def __init__(self, runtime: Runtime, on_meeting: Callable[[str, bool], None]) -> None:
        self._runtime = runtime
        self._on_meeting = on_meeting
        self._lock = threading.RLock()
        self.connections: dict[str, Connection] = {}
        self.topics: dict[str, Topic] = {}
        self._meetings: dict[str, set[str]] = {}
        self._addresses: Counter[str] = Counter()
        self.is_draining = False

    # --- connections

    def add(self, connection: Connection) -> bool:
        """Register a connection. False when this process is going away and takes no more."""
        with self._lock:
            if self.is_draining:
                return False
            self.connections[connection.id] = connection
            self._addresses[connection.address] += 1
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
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]
            for topic in tuple(connection.topics.values()):
                topic.leave(connection)
                self._forget_unheard(topic.key)
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

    def count_from(self, address: str) -> int:
        """Return how many connections come from an address."""
        return self._addresses.get(address, 0)

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

    def expect(self, meeting_id: str, keys: Iterable[str]) -> None:
        """Pay attention to streams that somebody will soon hear: from here on nothing on them goes unnoticed."""
        with self._lock:
            for key in keys:
                self._topic(key, meeting_id).expected += 1

    def release(self, keys: Iterable[str]) -> None:
        """End what `expect` began."""
        with self._lock:
            for key in keys:
                self.topics[key].expected -= 1
                self._forget_unheard(key)

    def subscribe(self, connection: Connection, key: str, seq: int, head: int | None = None) -> None:
        """Let a connection hear a stream from behind `seq`: first what it missed, in order, then live.

        `head` is where the stream stood at some time since it was expected; it saves a look into the ledger. Raises
        ServiceUnavailable when the ledger is needed and does not answer.
        """
        try:
            while connection.closing_since is None:
                topic = self._topic(key, connection.meeting_id)
                if topic.is_known:
                    self._repair(topic, seq)  # others here may not have heard yet what the newcomer has
                elif seq == head:
                    with topic.lock:
                        topic.learn(seq, ())
                with topic.lock:
                    lines = topic.behind(seq)
                    if lines is not None and size_of(lines) <= PIECE_BYTES and connection.has_room():
                        if self._attach(connection, topic, lines, head or 0):
                            return
                        continue
                if lines is None:
                    lines = self._fill(topic, seq, head)
                self._replay(connection, lines, head or 0)
                seq = lines[-1].seq if lines else seq
        finally:
            with self._lock:
                self._forget_unheard(key)

    def _attach(self, connection: Connection, topic: Topic, missed: Sequence[Line], head: int) -> bool:
        """Make a connection a member that lacks nothing but `missed`. The caller holds the topic's lock.

        False when the topic was dropped meanwhile.
        """
        with self._lock:
            if self.topics.get(topic.key) is not topic:
                return False
            topic.enter(connection)
        if missed:
            connection.write(b"".join(line.frame for line in missed))
            TALLY.delivered(len(missed))
            heed(connection, missed, head)
        return True

    def _fill(self, topic: Topic, seq: int, head: int | None) -> list[Line]:
        """Read from the ledger what the ring lacks behind `seq`, and a little more, for others who come back too.

        One reads at a time, and the others find it in the ring. Returns what the ring could not take.
        """
        with topic.filling():
            with topic.lock:
                if topic.behind(seq) is not None:
                    return []
                redactions = topic.redactions
            since = seq if head is None else max(0, min(seq, head - BACKFILL))
            lines = self._read(topic.key, since, CHUNK)
            with topic.lock:
                if redactions != topic.redactions:
                    return []  # what was read may hold a text that is no more: read again
                if len(lines) < CHUNK:
                    topic.learn(since, lines)
                topic.put_before(lines)
                return [] if topic.behind(seq) is not None else [line for line in lines if line.seq > seq]

    def _topic(self, key: str, meeting_id: str) -> Topic:
        with self._lock:
            return self.topics.setdefault(key, Topic(key, meeting_id))

    def _forget_unheard(self, key: str) -> None:
        topic = self.topics.get(key)
        if topic is not None and not topic.members and not topic.expected:
            del self.topics[key]

    def _read(self, key: str, seq: int, limit: int) -> list[Line]:
        with self._runtime.reading() as tx:
            entries = ledger.read(tx.connection, key, seq, limit)
        return [_line_of(entry) for entry in entries]

    @staticmethod
    def _replay(connection: Connection, lines: Sequence[Line], head: int) -> None:
        for piece in pieces_of(lines):
            while not connection.has_room() and connection.closing_since is None:
                time.sleep(0.01)  # a long replay goes at the reader's pace; its send deadline ends this
            connection.write(piece)
        TALLY.delivered(len(lines))
        heed(connection, lines, head)

    # --- delivery

    def deliver(self, wakeups: Iterable[Wakeup]) -> list[Topic]:
        """Write wake-ups to the sockets, those of one stream together. Returns topics that missed something."""
        by_topic: dict[str, list[Wakeup]] = {}
        for wakeup in wakeups:
            if wakeup.stream in self.topics:
                by_topic.setdefault(wakeup.stream, []).append(wakeup)
        torn = []
        written = 0
        for key, group in by_topic.items():
            if written > TURN_WRITES:
                time.sleep(0)  # others get their turn
                written = 0
            topic = self.topics.get(key)
            if topic is not None:
                written += len(topic.members)
                if not self._deliver_to(topic, group):
                    torn.append(topic)
        return torn

    def _deliver_to(self, topic: Topic, group: Sequence[Wakeup]) -> bool:
        with topic.lock:
            if not topic.is_known:
                topic.hear_of(max(wakeup.seq for wakeup in group))
                return True
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
        topic.write(data)
        TALLY.delivered(len(lines) * len(topic.members))
        for line in lines:
            if line.seq:
                topic.ring.append(line)
                topic.head = line.seq
            if line.effect:
                self._apply(topic, effects.parse(line.effect))

    def _apply(self, topic: Topic, effect: effects.Effect) -> None:
        if effect.kind == "redact":
            topic.ring.clear()
            topic.redactions += 1
        elif effect.kind == "end":  # those who wait hear it on streams of their own
            for connection in tuple(topic.members.values()):
                connection.close(effect.code, "the meeting has ended")
        elif effect.kind == "gone":
            for connection in self.of_meeting(topic.meeting_id):
                if connection.participant_id == effect.target:
                    connection.close(effect.code, "you are out")
        elif effect.kind == "renew":
            for connection in self.of_meeting(topic.meeting_id):
                if effect.target in ("*", connection.participant_id):
                    connection.sender.renew()

    def catch_up(self) -> None:
        """Read from the ledger what was missed: in one query for the heads, and one for the events of all streams that
        are behind, unless they are very many.

        Does nothing while the ledger does not answer; it is called again.
        """
        wanted = self.topics.copy()
        if not wanted:
            return
        try:
            with self._runtime.reading() as tx:
                heads = ledger.heads(tx.connection, wanted)
                behind = {key: since for key in wanted if (since := self._behind(wanted[key], heads[key])) is not None}
                few = dict(islice(behind.items(), STREAMS_AT_ONCE))
                entries = ledger.read_several(tx.connection, few, CHUNK) if few else []
            for key, group in groupby(entries, key=lambda entry: entry.stream):
                self._deliver_late(wanted[key], [_line_of(entry) for entry in group])
            for key in behind:
                self._repair(wanted[key], heads[key])
        except ServiceUnavailable:
            log.warning("catch_up_postponed", extra={"topics": len(wanted)})

    @staticmethod
    def _behind(topic: Topic, head: int) -> int | None:
        """Return behind which number a topic lacks events, None when it lacks none or is not known yet."""
        with topic.lock:
            topic.hear_of(head)
            return topic.head if topic.is_known and topic.head < head else None

    def _deliver_late(self, topic: Topic, lines: Sequence[Line]) -> None:
        """Deliver what was read from the ledger, as far as nobody else has meanwhile."""
        with topic.lock:
            fresh = [line for line in lines if line.seq > topic.head]
            GAPS.inc(len(fresh))
            self._advance(topic, fresh)

    def _repair(self, topic: Topic, until: int) -> None:
        """Deliver what the ledger has behind the head, up to `until` at least, as far as nobody else does meanwhile."""
        while topic.head < until:
            lines = self._read(topic.key, topic.head, CHUNK)
            if not lines:
                return
            self._deliver_late(topic, lines)
