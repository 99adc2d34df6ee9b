"""Token buckets."""

import time

import pytest

from web.realtime.buckets import TokenBucket

pytestmark = pytest.mark.once


class Watch:
    """A monotonic clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_a_bucket_gives_its_capacity_at_once_and_then_as_it_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    bucket = TokenBucket(60, 60.0)
    assert [bucket.take() for _ in range(61)] == [True] * 60 + [False]
    assert bucket.seconds_to_next == pytest.approx(1.0)
    watch.now += 0.5
    assert not bucket.take()
    assert bucket.seconds_to_next == pytest.approx(0.5)
    watch.now += 0.5
    assert (bucket.take(), bucket.take()) == (True, False)


def test_a_bucket_never_holds_more_than_its_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    bucket = TokenBucket(3, 1.0)
    assert bucket.seconds_to_next == 0.0
    watch.now += 1_000_000
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
