"""The tuner: lets sockets that are open hear the streams that are new to their owners (contract 5).

An event says that somebody was admitted or promoted; what they may hear then is asked of the database, so that an old
event, or one that another has overtaken, lets nobody hear anything.
"""

import logging
from collections import deque

from shared.core.background import Background
from shared.core.errors import ServiceUnavailable
from shared.participants.membership import memberships_by_id
from shared.participants.queries import audible_streams
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.hub import Hub
from web.realtime.recovery import Recovery

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Tuner:
    """Works for one process, in a thread of its own."""

    def __init__(self, runtime: Runtime, hub: Hub, recovery: Recovery) -> None:
        self._runtime = runtime
        self._hub = hub
        self._recovery = recovery
        self._waiting: deque[tuple[Connection, str, int]] = deque()
        self._work = Background("tuner", self._tune_all)

    def add(self, connection: Connection, key: str, seq: int) -> None:
        """Have a connection hear a stream from behind `seq` on, soon."""
        self._waiting.append((connection, key, seq))
        self._work.wake()

    def _tune_all(self) -> float | None:
        while self._waiting:
            first = self._waiting.popleft()
            try:
                self.tune(*first)
            except ServiceUnavailable:
                self._waiting.appendleft(first)
                return RETRY_SECONDS
        return None

    def tune(self, connection: Connection, key: str, seq: int) -> None:
        """Let a connection hear a stream, if its owner may. Raises ServiceUnavailable."""
        if connection.closing_since is not None or connection.id not in self._hub.connections:
            return
        renewals = connection.sender.renewals
        if key in connection.topics or key not in self._audible(connection):
            return
        self._recovery.subscribe(connection, key, seq)
        self.take_back(connection, renewals)

    def take_back(self, connection: Connection, renewals: int) -> None:
        """Have a connection hear no more what it may not, if a right has changed since the sender was renewed so often:
        one may have ended while it was granted. Raises ServiceUnavailable.
        """
        while renewals != connection.sender.renewals:
            renewals = connection.sender.renewals
            audible = set(self._audible(connection))
            self._hub.keep_only(connection, audible.__contains__)

    def _audible(self, connection: Connection) -> list[str]:
        with self._runtime.reading() as tx:
            found = memberships_by_id(tx, [connection.participant_id]).get(connection.participant_id)
        return [] if found is None else audible_streams(found.me)
