"""What a web process does all the time: pings, deadlines, and catching up when Redis was no help."""

import logging
import random
import threading
import time
from dataclasses import replace
from datetime import datetime

from shared.core import vitals
from shared.core.errors import ServiceUnavailable
from shared.identity.service import ended_sessions
from shared.realtime import close_codes
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.frames import encode_ping
from web.realtime.hub import Hub
from web.realtime.recovery import Recovery
from web.realtime.subscriber import Subscribers
from web.realtime.tally import TALLY

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.5
PARTS = 10
SESSIONS_AT_ONCE = 200
CATCH_UP_SECONDS = 10.0
CATCH_UP_WITHOUT_REDIS_SECONDS = 1.0
PING = encode_ping(b"")


class Heartbeat:
    """The housekeeping of one process."""

    def __init__(self, runtime: Runtime, hub: Hub, recovery: Recovery, subscriber: Subscribers) -> None:
        self._runtime = runtime
        self._own = replace(runtime, database=runtime.database.reserve())
        self._hub = hub
        self._recovery = recovery
        self._subscriber = subscriber
        self._look_now = threading.Event()
        self._loss_seen: datetime | None = None
        self._has_looked = False

    def look_now(self) -> None:
        """Ask for a catch-up at once."""
        self._look_now.set()

    def watch(self) -> None:
        """Ping, close what is stale, expired or done with; to be run in a thread of its own.

        Everybody is looked at once a round, some of them at a time, so that nobody waits for a look at thousands. The
        few whose time may end meanwhile are looked at each time: half a second late would be too late to tell others
        in time (F22).
        """
        while True:
            everyone = self._hub.everyone()
            fading = self.fading(everyone, time.monotonic())
            for first in range(PARTS):
                time.sleep(ROUND_SECONDS / PARTS)
                try:
                    TALLY.flush()
                    self.look_after([*fading, *everyone[first::PARTS]], time.monotonic(), time.time())
                except Exception:
                    log.exception("watch_failed")

    def fading(self, connections: list[Connection], now: float) -> list[Connection]:
        """Return those who will have been silent for too long before the next round ends, if nothing is heard."""
        latest = now + 2 * ROUND_SECONDS - self._runtime.settings.heartbeat_timeout
        return [connection for connection in connections if connection.last_heard < latest]

    def look_after(self, connections: list[Connection], now: float, wall: float) -> None:
        """Judge connections at a time, given by the monotonic and by the wall clock."""
        settings = self._runtime.settings
        for connection in connections:
            if connection.closing_since is not None:
                connection.expire(now)
            elif now - connection.last_heard > settings.heartbeat_timeout:
                connection.close(close_codes.STALE, "nothing heard from you")
            elif wall > connection.expires_at:
                connection.close(close_codes.TOKEN_ENDED, "token expired")
            elif connection.next_ping is None:
                # Pings are spread over the interval. If thousands were pinged at once, they would answer at once, and
                # their answers are half a second of work.
                connection.next_ping = now + random.random() * settings.heartbeat_interval  # noqa: S311 (no secret)
            elif now >= connection.next_ping:
                connection.next_ping = now + settings.heartbeat_interval
                connection.write(PING)

    # --- catching up

    def follow_ledger(self) -> None:
        """Catch up: when asked, each second while Redis is away, else every 10 s; to be run in a thread of its own."""
        checked = time.monotonic()
        while True:
            is_healthy = self._subscriber.is_connected and self._runtime.broker.healthy
            wait = CATCH_UP_SECONDS if is_healthy else CATCH_UP_WITHOUT_REDIS_SECONDS
            self._wait(wait)
            try:
                self._recovery.catch_up()
                if time.monotonic() - checked >= wait:
                    self.check_sessions(self._hub.everyone())
                    checked = time.monotonic()
            except ServiceUnavailable:
                log.warning("catch_up_postponed")
            except Exception:
                log.exception("catch_up_failed")

    def _wait(self, seconds: float) -> None:
        """Wait so long, or until somebody asks, or until Redis is away from here or from another process."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            if self._look_now.wait(min(remaining, CATCH_UP_WITHOUT_REDIS_SECONDS)):
                self._look_now.clear()
                return
            if not (self._subscriber.is_connected and self._runtime.broker.healthy) or self._is_told_of_loss():
                return

    def _is_told_of_loss(self) -> bool:
        """Tell whether, since this was last asked, some process could not announce what it had committed."""
        try:
            with self._own.reading() as tx:
                seen = vitals.last_seen(tx.connection, vitals.WAKEUPS_LOST)
        except ServiceUnavailable:
            return False
        is_news = self._has_looked and seen != self._loss_seen
        self._loss_seen, self._has_looked = seen, True
        return is_news

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
        """Close the sockets of sessions that are over, asking for some at a time. Raises ServiceUnavailable."""
        for first in range(0, len(connections), SESSIONS_AT_ONCE):
            self._check_sessions(connections[first : first + SESSIONS_AT_ONCE])

    def _check_sessions(self, connections: list[Connection]) -> None:
        ids = {c.actor.session_id for c in connections if c.actor.session_id}
        if not ids:
            return
        with self._own.reading() as tx:
            over = ended_sessions(tx, sorted(ids))
        for connection in connections:
            if connection.actor.session_id in over:
                connection.close(close_codes.TOKEN_ENDED, "token revoked")
