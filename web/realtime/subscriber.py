"""The subscriber: one connection of a process to a Redis server, on which wake-ups arrive. Losing it loses nothing but
time."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis

from shared.realtime.channels import CONTROL, meeting_channel, server_of
from shared.realtime.envelope import Wakeup, decode
from shared.realtime.wire import Wire, pack

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.25
CONNECT_SECONDS = 2.0
_CONTROL = CONTROL.encode()
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
        self._wire: Wire | None = None
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
            if self._wire is None or not self.is_connected or (before > 0) == (after > 0):
                return
            try:
                self._wire.send(pack(b"SUBSCRIBE" if yes else b"UNSUBSCRIBE", channel.encode()))
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
        wire = Wire(self._url, CONNECT_SECONDS)
        try:
            asked = self._channels()
            wire.send(
                pack(b"SUBSCRIBE", *asked)
            )  # without the lock: Redis may hang, and newcomers must not wait for it
            with self._lock:
                wanted = self._channels()
                for word, channels in ((b"SUBSCRIBE", wanted - asked), (b"UNSUBSCRIBE", asked - wanted)):
                    if channels:
                        wire.send(pack(word, *channels))
                self._wire, self.is_connected = wire, True
            while self.is_connected:
                self._take(wire.receive(SILENCE_SECONDS) or self._ask(wire))
        finally:
            self._wire = None
            wire.close()

    def _ask(self, wire: Wire) -> list[Any]:
        """Return what Redis says when it was silent and is asked. Raises TimeoutError when it says nothing."""
        with self._lock:
            wire.send(pack(b"PING"))
        answers = wire.receive(SILENCE_SECONDS)
        if not answers:
            raise redis.TimeoutError("no answer to a ping")
        return answers

    def _channels(self) -> set[bytes]:
        return {channel.encode() for channel, count in self._wanted.copy().items() if count > 0}

    def _take(self, answers: list[Any]) -> None:
        """Handle what arrived together."""
        wakeups: list[Wakeup] = []
        may_have_missed = False
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise redis.ResponseError(str(answer))
            if answer[0] == b"message" and answer[1] == _CONTROL:
                self._on_order(answer[2].decode())
            elif answer[0] == b"message":
                wakeups.append(decode(answer[2]))
            elif answer[0] == b"subscribe":
                may_have_missed = True
        if wakeups:
            self._on_wakeups(wakeups)
        if may_have_missed:
            self._on_gap()


class Subscribers:
    """A subscriber for each server that carries wake-ups (shared.realtime.channels.server_of).

    The callbacks are those of Subscriber; those of several servers may come at the same time, but never two about the
    same meeting.
    """

    def __init__(
        self,
        urls: Sequence[str],
        on_wakeups: Callable[[list[Wakeup]], None],
        on_order: Callable[[str], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._subscribers = [Subscriber(url, on_wakeups, on_order, on_gap) for url in urls]

    @property
    def is_connected(self) -> bool:
        """Tell whether all servers are heard."""
        return all(subscriber.is_connected for subscriber in self._subscribers)

    def follow(self, meeting_id: str, yes: bool) -> None:
        """Follow a meeting's channel, or stop to, as Subscriber does."""
        server = server_of(meeting_channel(meeting_id), len(self._subscribers))
        self._subscribers[server].follow(meeting_id, yes)

    def run(self) -> None:
        """Listen to all for ever; to be run in a thread of its own."""
        first, *others = self._subscribers
        for other in others:
            threading.Thread(target=other.run, name="realtime-run", daemon=True).start()
        first.run()
