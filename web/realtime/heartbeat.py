"""What a web process does all the time: pings, deadlines, its lease, and catching up when Redis was no help."""

import logging
import threading
import time

from shared.core.errors import ServiceUnavailable
from shared.core.ids import new_id
from shared.identity.service import ended_sessions
from shared.participants import heartbeat as people
from shared.realtime import close_codes, presence
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.frames import encode_ping
from web.realtime.hub import Hub
from web.realtime.subscriber import Subscriber

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
CATCH_UP_SECONDS = 10.0
CATCH_UP_WITHOUT_REDIS_SECONDS = 1.0
PING = encode_ping(b"")


class Heartbeat:
    """The housekeeping of one process; `process_id` is its name in the presence tables."""

    def __init__(self, runtime: Runtime, hub: Hub, subscriber: Subscriber) -> None:
        self.process_id = new_id()
        self._runtime = runtime
        self._hub = hub
        self._subscriber = subscriber
        self._look_now = threading.Event()

    def enter(self) -> None:
        """Take the process's lease, before its first connection. Raises ServiceUnavailable."""
        with self._runtime.transaction() as tx:
            presence.register(tx.connection, self.process_id, "web", tx.now)

    def look_now(self) -> None:
        """Ask for a catch-up at once."""
        self._look_now.set()

    def watch(self) -> None:
        """Ping, close what is stale, expired or done with; to be run in a thread of its own."""
        settings = self._runtime.settings
        next_ping = 0.0
        while True:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            wall = time.time()
            ping = now >= next_ping
            if ping:
                next_ping = now + settings.heartbeat_interval
            for connection in self._hub.everyone():
                if connection.closing_since is not None:
                    connection.expire(now)
                elif now - connection.last_heard > settings.heartbeat_timeout:
                    connection.close(close_codes.STALE, "nothing heard from you")
                elif wall > connection.expires_at:
                    connection.close(close_codes.TOKEN_ENDED, "token expired")
                elif ping:
                    connection.write(PING)

    def keep_lease(self) -> None:
        """Renew the process's lease; to be run in a thread of its own."""
        while True:
            time.sleep(presence.RENEW_SECONDS)
            try:
                self._renew()
            except ServiceUnavailable:
                log.warning("lease_not_renewed")
            except Exception:
                log.exception("lease_not_renewed")

    def _renew(self) -> None:
        with self._runtime.transaction() as tx:
            if presence.renew(tx.connection, self.process_id, tx.now):
                return
            # This process was so slow that it was taken for dead: enter again, with everybody who is here.
            presence.register(tx.connection, self.process_id, "web", tx.now)
            for c in self._hub.everyone():
                people.connection_opened(tx, c.id, self.process_id, c.meeting_id, c.participant_id)

    def follow_ledger(self) -> None:
        """Catch up: when asked, each second while Redis is away, else every 10 s; to be run in a thread of its own."""
        while True:
            is_healthy = self._subscriber.is_connected and self._runtime.broker.healthy
            wait = CATCH_UP_SECONDS if is_healthy else CATCH_UP_WITHOUT_REDIS_SECONDS
            was_asked = self._wait(wait)
            try:
                self._hub.catch_up()
                if not was_asked:
                    self.check_sessions(self._hub.everyone())
            except ServiceUnavailable:
                log.warning("catch_up_postponed")
            except Exception:
                log.exception("catch_up_failed")

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            if self._look_now.wait(min(remaining, CATCH_UP_WITHOUT_REDIS_SECONDS)):
                self._look_now.clear()
                return True
            if not (self._subscriber.is_connected and self._runtime.broker.healthy):
                return False
        return False

    def obey(self, order: str) -> None:
        """Do what an order says (shared.realtime.orders)."""
        kind, _, target = order.partition(" ")
        if kind == "session":
            for connection in self._hub.everyone():
                if connection.actor.session_id == target:
                    connection.close(close_codes.TOKEN_ENDED, "token revoked")
        elif kind == "connection" and (one := self._hub.connections.get(target)) is not None:
            one.close(close_codes.TOO_FAST_OR_SLOW, "too many connections")

    def check_sessions(self, connections: list[Connection]) -> None:
        """Close the sockets of sessions that are over. Raises ServiceUnavailable."""
        ids = {c.actor.session_id for c in connections if c.actor.session_id}
        if not ids:
            return
        with self._runtime.reading() as tx:
            over = ended_sessions(tx, sorted(ids))
        for connection in connections:
            if connection.actor.session_id in over:
                connection.close(close_codes.TOKEN_ENDED, "token revoked")
