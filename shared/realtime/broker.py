"""The broker: tells every process that something happened. Best effort, and nobody ever waits for it.

One thread per process sends what was handed over, several messages in one pipeline. When Redis does not answer within
0.2 s the circuit opens: messages are dropped until it answers again, and hubs catch up from the ledger
(promises 1.1 item 2; a default client would have blocked each request for 3.5 s, M10).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import redis

from shared.core.background import Background
from shared.realtime.channels import server_of
from shared.realtime.wire import Wire, pack_publish

log = logging.getLogger(__name__)

BACKLOG = 20_000
BATCH = 500
TIMEOUT_SECONDS = 0.2
OPEN_SECONDS = 0.2
TELL_SECONDS = 0.25


class Broker(Protocol):
    """What the Runtime needs to wake up other processes."""

    @property
    def healthy(self) -> bool:
        """Tell whether the last message got through."""

    def publish(self, channel: str, message: bytes) -> None:
        """Hand over a message. Returns at once, raises nothing, promises nothing."""


class RedisBroker:
    """The real thing. `on_lost` is called in the broker's thread when messages were dropped: soon, not for each one.

    It must not raise.
    """

    def __init__(self, url: str, on_lost: Callable[[], None] | None = None) -> None:
        self._url = url
        self._on_lost = on_lost
        self._wire: Wire | None = None
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=BACKLOG)
        self._sender = Background("broker", self._send_waiting)
        self._open_until = 0.0
        self._has_lost = False
        self._told_at = float("-inf")
        self.healthy = True  # what the last attempt said
        self.dropped = 0

    def publish(self, channel: str, message: bytes) -> None:
        """Hand over a message for the next batch."""
        self._waiting.append((channel, message))
        self._sender.wake()

    def _send_waiting(self) -> float | None:
        while self._waiting:
            self._send([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
        if self._has_lost and time.monotonic() - self._told_at >= TELL_SECONDS:
            self._tell_of_loss()
        return TELL_SECONDS if self._has_lost else None

    def _send(self, batch: list[tuple[str, bytes]]) -> None:
        if time.monotonic() < self._open_until:
            self._lose(len(batch))
            return
        try:
            if self._wire is None:
                self._wire = Wire(self._url, TIMEOUT_SECONDS)
            self._wire.send(b"".join([pack_publish(channel.encode(), message) for channel, message in batch]))
            self._wire.await_answers(len(batch))
            self.healthy = True
        except (redis.RedisError, OSError) as broken:
            self._open_until = time.monotonic() + OPEN_SECONDS
            self._hang_up()
            self._lose(len(batch))
            log.warning("wakeups_dropped", extra={"count": len(batch), "error": str(broken)})

    def _hang_up(self) -> None:
        self.healthy = False
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _lose(self, count: int) -> None:
        self.dropped += count
        self._has_lost = True

    def _tell_of_loss(self) -> None:
        self._has_lost, self._told_at = False, time.monotonic()
        if self._on_lost is not None:
            self._on_lost()


class SharedBroker:
    """Several servers, each of which carries some of the channels. One that is away takes no other's along."""

    def __init__(self, urls: Sequence[str], on_lost: Callable[[], None] | None = None) -> None:
        self._brokers = [RedisBroker(url, on_lost) for url in urls]

    @property
    def healthy(self) -> bool:
        """Tell whether the last message to each server got through."""
        return all(broker.healthy for broker in self._brokers)

    def publish(self, channel: str, message: bytes) -> None:
        """Hand over a message to the broker of its channel's server."""
        self._brokers[server_of(channel, len(self._brokers))].publish(channel, message)


def make_broker(urls: Sequence[str], on_lost: Callable[[], None] | None = None) -> Broker:
    """Return a broker for one server, or for several that share the channels."""
    return RedisBroker(urls[0], on_lost) if len(urls) == 1 else SharedBroker(urls, on_lost)
