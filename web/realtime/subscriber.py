"""The subscriber: one Redis connection per process, on which wake-ups arrive. Losing it loses nothing but time."""

import logging
import threading
import time
from collections.abc import Callable

import redis
from redis.client import PubSub

from shared.realtime.broker import quick_client
from shared.realtime.channels import CONTROL, meeting_channel
from shared.realtime.envelope import Wakeup, decode

log = logging.getLogger(__name__)

DRAIN_LIMIT = 500
RETRY_SECONDS = 0.25
SILENCE_SECONDS = 5.0


class Subscriber:
    """Follows the channels of the meetings that have connections here.

    `on_wakeups` gets what arrived together; `on_order` a control message; `on_gap` is called when messages may have
    been missed: after every (re)connect, and after each new channel is confirmed.
    """

    def __init__(
        self,
        redis_url: str,
        on_wakeups: Callable[[list[Wakeup]], None],
        on_order: Callable[[str], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._url = redis_url
        self._on_wakeups = on_wakeups
        self._on_order = on_order
        self._on_gap = on_gap
        self._wanted: set[str] = {CONTROL}
        self._pubsub: PubSub | None = None
        self._lock = threading.Lock()
        self.is_connected = False

    def follow(self, meeting_id: str, yes: bool) -> None:
        """Follow a meeting's channel, or stop to."""
        channel = meeting_channel(meeting_id)
        with self._lock:
            (self._wanted.add if yes else self._wanted.discard)(channel)
            if self._pubsub is not None and self.is_connected:
                try:
                    (self._pubsub.subscribe if yes else self._pubsub.unsubscribe)(channel)
                except (redis.RedisError, OSError):
                    self.is_connected = False  # the loop connects anew, with all that is wanted

    def run(self) -> None:
        """Listen for ever; to be run in a thread of its own."""
        while True:
            try:
                self._listen()
            except (redis.RedisError, OSError) as broken:
                if self.is_connected:
                    log.warning("subscriber_lost_redis", extra={"error": str(broken)})
                self.is_connected = False
                time.sleep(RETRY_SECONDS)

    def _listen(self) -> None:
        with quick_client(self._url, timeout=2.0) as client:  # the client must outlive its PubSub (trap T11)
            with self._lock:
                pubsub = client.pubsub()
                pubsub.subscribe(*self._wanted)
                self._pubsub, self.is_connected = pubsub, True
            last_heard = time.monotonic()
            while self.is_connected:
                if self._take(pubsub):
                    last_heard = time.monotonic()
                elif time.monotonic() - last_heard > SILENCE_SECONDS:
                    pubsub.ping()
                    if pubsub.get_message(timeout=1.0) is None:
                        raise redis.TimeoutError("no answer to a ping")
                    last_heard = time.monotonic()

    def _take(self, pubsub: PubSub) -> bool:
        """Handle what is there; wait up to a second for the first message. False when nothing came."""
        message = pubsub.get_message(timeout=1.0)
        if message is None:
            return False
        wakeups: list[Wakeup] = []
        may_have_missed = False
        for _ in range(DRAIN_LIMIT):
            kind = message["type"]
            if kind == "message" and message["channel"] == CONTROL.encode():
                self._on_order(message["data"].decode())
            elif kind == "message":
                wakeups.append(decode(message["data"]))
            elif kind == "subscribe":
                may_have_missed = True
            message = pubsub.get_message(timeout=0.0)
            if message is None:
                break
        if wakeups:
            self._on_wakeups(wakeups)
        if may_have_missed:
            self._on_gap()
        return True
