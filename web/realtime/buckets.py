"""Token buckets: how fast one connection may send."""

import time


class TokenBucket:
    """`capacity` tokens, refilled evenly over `per_seconds`."""

    __slots__ = ("_at", "_tokens", "capacity", "rate")

    def __init__(self, capacity: int, per_seconds: float) -> None:
        self.capacity = capacity
        self.rate = capacity / per_seconds
        self._tokens = float(capacity)
        self._at = time.monotonic()

    def take(self) -> bool:
        """Take one token. False when there is none."""
        now = time.monotonic()
        self._tokens = min(self.capacity, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def seconds_to_next(self) -> float:
        """Return how long until there is a token again."""
        return max(0.0, (1 - self._tokens) / self.rate)
