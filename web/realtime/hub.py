"""The hub: this process's connections, by the streams they hear. It knows sockets, no ledger and no Redis.

A wake-up that is next in line on its topic is written out at once, one that is behind is dropped, and one that is ahead
means that something was missed: then, and only then, the ledger is read (web.realtime.recovery; promises 1.1 items 2
and 3).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from shared.core.greenlets import give_way
from shared.core.metrics import CONNECTIONS
from shared.core.streams import hosts_stream, is_hosts_stream, is_personal_stream, meeting_stream
from shared.realtime import close_codes, effects
from shared.realtime.envelope import Wakeup
from web.realtime.connection import Connection
from web.realtime.frames import encode_text
from web.realtime.tally import TALLY
from web.realtime.topic import Line, Topic

_TAKING = frozenset({"end", "gone", "outside", "demoted"})
_RIGHTS = frozenset({"renew", "inside", "outside", "promoted", "demoted"})
TURN_WRITES = 500  # sockets that are written to before others get their turn: a few milliseconds


class Hub:
    """All connections and topics of one process.

    `on_meeting` is called with a meeting's id and True when the first connection of it arrives, False after the last.
    The calls for one meeting may come in another order than it happened; their sum is right. `on_new_stream` is
    called with a connection, a stream that it may hear from now on, and the number behind which it goes on there.
    """

    def __init__(
        self,
        on_meeting: Callable[[str, bool], None],
        on_new_stream: Callable[[Connection, str, int], None] = lambda *_: None,
    ) -> None:
        self._on_new_stream = on_new_stream
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
                self.forget_unheard(topic.key)
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
                self.topic(key, meeting_id).expected += 1

    def release(self, keys: Iterable[str]) -> None:
        """End what `expect` began."""
        with self._lock:
            for key in keys:
                self.topics[key].expected -= 1
                self.forget_unheard(key)

    def attach(self, connection: Connection, topic: Topic, missed: Sequence[Line], head: int) -> bool:
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
            self.heed(connection, missed, head)
        return True

    def heed(self, connection: Connection, lines: Iterable[Line], head: int) -> None:
        """Apply to a connection what it is told, among what it missed, of its own rights.

        When the stream stood at `head` the rights were looked at; what happened before is history.
        """
        for line in lines:
            effect = effects.parse(line.effect) if line.effect and line.seq > head else None
            if effect is None:
                continue
            if effect.ends(connection.participant_id):
                connection.close(effect.code, "this ended while you were away")
            elif effect.kind in _RIGHTS and effect.target in ("*", connection.participant_id):
                self._change_rights(connection, effect)

    def topic(self, key: str, meeting_id: str) -> Topic:
        """Return a topic, a new one when nobody hears it yet."""
        with self._lock:
            return self.topics.setdefault(key, Topic(key, meeting_id))

    def forget_unheard(self, key: str) -> None:
        """Forget a topic that nobody hears, or is about to."""
        with self._lock:
            topic = self.topics.get(key)
            if topic is not None and not topic.members and not topic.expected:
                del self.topics[key]

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
                give_way()
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
                    self.advance(topic, fresh)
                    return False
            self.advance(topic, fresh)
            return True

    def advance(self, topic: Topic, lines: Sequence[Line]) -> None:
        """Give lines to all members, and remember them. The caller holds the topic's lock.

        They leave in one write, unless one takes a right away: who lost it must not get those behind.
        """
        start = 0
        for end, line in enumerate(lines, 1):
            if line.effect and effects.parse(line.effect).kind in _TAKING:
                self._write(topic, lines[start:end])
                start = end
        self._write(topic, lines[start:])

    def _write(self, topic: Topic, lines: Sequence[Line]) -> None:
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
        elif effect.kind in _RIGHTS:
            for connection in self.of_meeting(topic.meeting_id):
                if effect.target in ("*", connection.participant_id):
                    self._change_rights(connection, effect)

    def _change_rights(self, connection: Connection, effect: effects.Effect) -> None:
        connection.sender.renew()
        if effect.kind == "demoted":
            self.keep_only(connection, lambda key: not is_hosts_stream(key))
        elif effect.kind == "outside":
            self.keep_only(connection, is_personal_stream)
        elif effect.kind == "inside":
            self._on_new_stream(connection, meeting_stream(connection.meeting_id), effect.code)
        elif effect.kind == "promoted":
            self._on_new_stream(connection, hosts_stream(connection.meeting_id), effect.code)

    def keep_only(self, connection: Connection, may_hear: Callable[[str], bool]) -> None:
        """Have a connection hear no more what it may not, from this moment on."""
        with self._lock:
            for key, topic in tuple(connection.topics.items()):
                if not may_hear(key):
                    topic.leave(connection)
                    self.forget_unheard(key)
