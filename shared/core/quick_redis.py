"""A Redis client for those who cannot wait: redis-py's own tries for 3.5 s before it says that nobody answers (M10)."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def quick_client(url: str, *, timeout: float) -> "redis.Redis":
    """Return a client that fails fast: no retries, `timeout` seconds for connecting and for each answer."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
