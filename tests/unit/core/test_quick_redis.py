"""Asking Redis without waiting for it."""

import time

import pytest
import redis

from dev.process import free_port
from shared.core.quick_redis import quick_client


def test_a_quick_client_gives_up_within_its_timeout() -> None:
    with quick_client(f"redis://127.0.0.1:{free_port()}/0", timeout=0.1) as client:
        began = time.monotonic()
        with pytest.raises(redis.RedisError):
            client.ping()
        assert time.monotonic() - began < 0.5
