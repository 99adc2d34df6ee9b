"""The subscriber: one Redis connection per process, on which wake-ups arrive. Losing it loses nothing but time."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import redis
from redis.client import PubSub

from shared.realtime.broker import quick_client
from shared.realtime.channels import CONTROL, meeting_channel
from shared.realtime.envelope import Wakeup, decode

log = logging.getLogger(__name__)

DRAIN_LIMIT = 500
RETRY_SECONDS = 0.25
CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 0.5  # then Redis is asked whether it is there; it has as long again to answer


class Subscriber:
    """Follows the channels of the meetings that have connections here, and the one with orders for all.

    `on_wakeups` gets what arrived together; `on_order` a control message; `on_gap` is called when messages may have
    been missed: when Redis is lost, after every (re)connect, and after each new channel is confirmed.
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
        self._wanted: Counter[str] = Counter({CONTROL: 1})
        self._pubsub: PubSub | None = None
        self._lock = threading.Lock()
        self.is_connected = False

    def follow(self, meeting_id: str, yes: bool) -> None:
        """Follow a meeting's channel, or stop to. Calls are counted: the channel is followed as long as they say yes
        more often than no, in whatever order they come."""
        channel = meeting_channel(meeting_id)
        with self._lock:
            before = self._wanted[channel]
            self._wanted[channel] = after = before + (1 if yes else -1)
            if after == 0:
                del self._wanted[channel]
            if self._pubsub is None or not self.is_connected or (before > 0) == (after > 0):
                return
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
            except Exception:
                log.exception("subscriber_failed")
            if self.is_connected:
                self.is_connected = False
                self._on_gap()
            time.sleep(RETRY_SECONDS)

    def _listen(self) -> None:
        with quick_client(self._url, timeout=CONNECT_SECONDS) as client:  # must outlive its PubSub (trap T11)
            pubsub = client.pubsub()
            asked = self._channels()
            pubsub.subscribe(*asked)  # without the lock: Redis may hang, and newcomers must not wait for it
            with self._lock:
                wanted = self._channels()
                if wanted - asked:
                    pubsub.subscribe(*(wanted - asked))
                if asked - wanted:
                    pubsub.unsubscribe(*(asked - wanted))
                self._pubsub, self.is_connected = pubsub, True
            while self.is_connected:
                if not self._take(pubsub):
                    pubsub.ping()
                    if not self._take(pubsub):
                        raise redis.TimeoutError("no answer to a ping")

    def _channels(self) -> set[str]:
        return {channel for channel, count in self._wanted.copy().items() if count > 0}

    def _take(self, pubsub: PubSub) -> bool:
        """Handle what is there; wait a little for the first message. False when nothing came."""
        message = pubsub.get_message(timeout=SILENCE_SECONDS)
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
