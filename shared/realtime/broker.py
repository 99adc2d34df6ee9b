"""The broker: tells every process that something happened. Best effort, and nobody ever waits for it.

One thread per process sends what was handed over, several messages in one pipeline, and hears the answers of a tenth of
a second together. When Redis does not answer within 0.2 s the circuit opens: messages are dropped until it answers
again, and hubs catch up from the ledger (promises 1.1 item 2; a default client would have blocked each request for
3.5 s, M10).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import hiredis
import redis

from shared.core.background import Background
from shared.realtime.channels import server_of
from shared.realtime.wire import Wire, pack_publish

log = logging.getLogger(__name__)

BACKLOG = 20_000
BATCH = 500
TIMEOUT_SECONDS = 0.2
PATIENCE_SECONDS = TIMEOUT_SECONDS / 2  # then answers that did not come by themselves are waited for
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
        self._unanswered = 0
        self._heard_at = 0.0  # when an answer came, or the first of those was asked for that are awaited
        self._open_until = 0.0
        self._has_lost = False
        self._told_at = float("-inf")
        self.healthy = True  # what the last answer said, or that there was none
        self.dropped = 0

    def publish(self, channel: str, message: bytes) -> None:
        """Hand over a message for the next batch."""
        self._waiting.append((channel, message))
        self._sender.wake()

    def _send_waiting(self) -> float | None:
        self._hear()
        while self._waiting:
            self._send([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
        if self._has_lost and time.monotonic() - self._told_at >= TELL_SECONDS:
            self._tell_of_loss()
        if self._unanswered:
            return max(0.001, self._heard_at + PATIENCE_SECONDS - time.monotonic())
        return TELL_SECONDS if self._has_lost else None

    def _send(self, batch: list[tuple[str, bytes]]) -> None:
        if time.monotonic() < self._open_until:
            self._lose(len(batch))
            return
        try:
            if self._wire is None:
                self._wire = Wire(self._url, TIMEOUT_SECONDS)
            if not self._unanswered:
                self._heard_at = time.monotonic()
            self._unanswered += len(batch)
            self._wire.send(b"".join([pack_publish(channel.encode(), message) for channel, message in batch]))
        except (redis.RedisError, OSError) as broken:
            self._give_up(broken, len(batch))

    def _hear(self) -> None:
        """Take the answers that are here, now and then; wait for those that are late."""
        now = time.monotonic()
        is_late = now - self._heard_at >= PATIENCE_SECONDS
        if self._wire is None or not self._unanswered or not (is_late or self._unanswered >= BATCH):
            return
        try:
            answers = self._wire.receive(PATIENCE_SECONDS) if is_late else self._wire.receive_now()
            for answer in answers:
                if isinstance(answer, hiredis.ReplyError):
                    raise redis.ResponseError(str(answer))
            if answers:
                self._unanswered -= len(answers)
                self._heard_at, self.healthy = now, True
            elif is_late:
                raise redis.TimeoutError("Redis did not answer in time")
        except (redis.RedisError, OSError) as broken:
            self._give_up(broken)

    def _give_up(self, broken: Exception, at_least: int = 0) -> None:
        """Drop what is not known to have arrived, `at_least` what was to be sent, and open the circuit."""
        self._open_until = time.monotonic() + OPEN_SECONDS
        self._hang_up()
        lost = max(self._unanswered, at_least)
        log.warning("wakeups_dropped", extra={"count": lost, "error": str(broken)})
        self._lose(lost)
        self._unanswered = 0

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
