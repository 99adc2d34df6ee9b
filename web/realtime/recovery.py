"""Recovery: what somebody, or this process, has missed is read from the ledger.

Nothing else of the realtime engine reads events there: not while wake-ups come one after the other (promises 1.1).
"""

import logging
import time
from collections.abc import Sequence
from itertools import groupby

from shared.core import ledger
from shared.core.errors import ServiceUnavailable
from shared.core.ledger import Entry
from shared.core.metrics import GAPS
from shared.realtime.envelope import frame_of
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.frames import encode_text
from web.realtime.hub import Hub
from web.realtime.replay import PIECE_BYTES, pieces_of, size_of
from web.realtime.tally import TALLY
from web.realtime.topic import Line, Topic

log = logging.getLogger(__name__)

CHUNK = 500
STREAMS_AT_ONCE = 200
BACKFILL = 200  # events before the one that is asked for, of use to others whose cursors stand a little behind


def _line_of(entry: Entry) -> Line:
    return Line(entry.seq, encode_text(frame_of(entry)), entry.effect)


class Recovery:
    """Brings connections and topics of one process up to where their streams stand."""

    def __init__(self, runtime: Runtime, hub: Hub) -> None:
        self._runtime = runtime
        self._hub = hub

    def subscribe(self, connection: Connection, key: str, seq: int, head: int | None = None) -> None:
        """Let a connection hear a stream from behind `seq`: first what it missed, in order, then live.

        `head` is where the stream stood at some time since it was expected; it saves a look into the ledger. Raises
        ServiceUnavailable when the ledger is needed and does not answer.
        """
        try:
            while connection.closing_since is None:
                topic = self._hub.topic(key, connection.meeting_id)
                if topic.is_known:
                    self._repair(topic, seq)  # others here may not have heard yet what the newcomer has
                elif seq == head:
                    with topic.lock:
                        topic.learn(seq, ())
                with topic.lock:
                    lines = topic.behind(seq)
                    if lines is not None and size_of(lines) <= PIECE_BYTES and connection.has_room():
                        if self._hub.attach(connection, topic, lines, head or 0):
                            return
                        continue
                if lines is None:
                    lines = self._fill(topic, seq, head)
                self._replay(connection, lines, head or 0)
                seq = lines[-1].seq if lines else seq
        finally:
            self._hub.forget_unheard(key)

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

    def _read(self, key: str, seq: int, limit: int) -> list[Line]:
        with self._runtime.reading() as tx:
            entries = ledger.read(tx.connection, key, seq, limit)
        return [_line_of(entry) for entry in entries]

    def _replay(self, connection: Connection, lines: Sequence[Line], head: int) -> None:
        for piece in pieces_of(lines):
            while not connection.has_room() and connection.closing_since is None:
                time.sleep(0.01)  # a long replay goes at the reader's pace; its send deadline ends this
            connection.write(piece)
        TALLY.delivered(len(lines))
        self._hub.heed(connection, lines, head)

    def catch_up(self) -> None:
        """Read from the ledger what was missed: for some streams at a time one query for their heads, and one for the
        events of those that are behind. Whoever is delivered to meanwhile waits for some of them, not for thousands.

        Does nothing while the ledger does not answer; it is called again.
        """
        wanted = self._hub.topics.copy()
        keys = list(wanted)
        try:
            for first in range(0, len(keys), STREAMS_AT_ONCE):
                self._catch_up_on({key: wanted[key] for key in keys[first : first + STREAMS_AT_ONCE]})
        except ServiceUnavailable:
            log.warning("catch_up_postponed", extra={"topics": len(wanted)})

    def _catch_up_on(self, wanted: dict[str, Topic]) -> None:
        with self._runtime.reading() as tx:
            heads = ledger.heads(tx.connection, wanted)
            behind = {key: since for key in wanted if (since := self._behind(wanted[key], heads[key])) is not None}
            entries = ledger.read_several(tx.connection, behind, CHUNK) if behind else []
        for key, group in groupby(entries, key=lambda entry: entry.stream):
            self._deliver_late(wanted[key], [_line_of(entry) for entry in group])
        for key in behind:
            self._repair(wanted[key], heads[key])

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
            self._hub.advance(topic, fresh)

    def _repair(self, topic: Topic, until: int) -> None:
        """Deliver what the ledger has behind the head, up to `until` at least, as far as nobody else does meanwhile."""
        while topic.head < until:
            lines = self._read(topic.key, topic.head, CHUNK)
            if not lines:
                return
            self._deliver_late(topic, lines)
