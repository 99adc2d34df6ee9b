"""The broker: tells every process that something happened. Best effort, and nobody ever waits for it.

One thread per process sends what was handed over, several messages in one pipeline. When Redis does not answer within
0.2 s the circuit opens: messages are dropped until it answers again, and hubs catch up from the ledger
(promises 1.1 item 2; a default client would have blocked each request for 3.5 s, M10).
"""

import logging
import threading
import time
from collections import deque
from typing import Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

BACKLOG = 20_000
BATCH = 500
TIMEOUT_SECONDS = 0.2
OPEN_SECONDS = 0.2


class Broker(Protocol):
    """What the Runtime needs to wake up other processes."""

    @property
    def healthy(self) -> bool:
        """Tell whether the last message got through."""

    def publish(self, channel: str, message: bytes) -> None:
        """Hand over a message. Returns at once, raises nothing, promises nothing."""


def quick_client(url: str, *, timeout: float = TIMEOUT_SECONDS) -> "redis.Redis":
    """Return a client that fails fast: no retries, `timeout` seconds for connecting and for each answer."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class RedisBroker:
    """The real thing."""

    def __init__(self, url: str) -> None:
        self._client = quick_client(url)
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=BACKLOG)
        self._wake = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open_until = 0.0
        self.healthy = True  # what the last attempt said
        self.dropped = 0

    def publish(self, channel: str, message: bytes) -> None:
        """Hand over a message for the next pipeline."""
        self._waiting.append((channel, message))
        if self._thread is None or not self._thread.is_alive():
            self._ensure_running()
        self._wake.set()

    def _ensure_running(self) -> None:
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._send(batch)

    def _send(self, batch: list[tuple[str, bytes]]) -> None:
        if time.monotonic() < self._open_until:
            self.dropped += len(batch)
            return
        try:
            pipeline = self._client.pipeline(transaction=False)
            for channel, message in batch:
                pipeline.publish(channel, message)
            pipeline.execute()
            self.healthy = True
        except (redis.RedisError, OSError) as broken:
            self._open_until = time.monotonic() + OPEN_SECONDS
            self.healthy = False
            self.dropped += len(batch)
            log.warning("wakeups_dropped", extra={"count": len(batch), "error": str(broken)})
