"""The subscriber with a real Valkey that is killed, hangs and comes back."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from dev.process import free_port
from dev.valkey import Valkey
from shared.realtime.channels import CONTROL, meeting_channel
from shared.realtime.envelope import Wakeup, encode
from shared.realtime.wire import Wire
from tests.unit.web.realtime.wire import wait_for
from web.realtime import subscriber as module
from web.realtime.subscriber import Subscriber

pytestmark = [pytest.mark.once, pytest.mark.timeout(60)]


class Ears:
    """A subscriber, and what it heard."""

    def __init__(self, url: str) -> None:
        self.wakeups: list[Wakeup] = []
        self.orders: list[str] = []
        self.gaps = 0
        self.subscriber = Subscriber(url, self.wakeups.extend, self.orders.append, self._gap)
        threading.Thread(target=self.subscriber.run, daemon=True).start()

    def _gap(self) -> None:
        self.gaps += 1


@contextmanager
def listening(valkey: Valkey) -> Iterator[tuple[Ears, Callable[[str, bytes], int]]]:
    """Yield a connected subscriber and a function that publishes and returns how many heard it."""
    ears = Ears(valkey.url)
    wait_for(lambda: ears.gaps)
    with redis.Redis.from_url(valkey.url) as client:
        yield ears, lambda channel, message: int(client.publish(channel, message))


def test_wakeups_of_followed_meetings_and_orders_arrive_and_others_do_not() -> None:
    with Valkey() as valkey, listening(valkey) as (ears, publish):
        gaps = ears.gaps
        ears.subscriber.follow("M", True)
        wait_for(lambda: ears.gaps > gaps)  # what was said before the channel was ours may have been missed
        for seq in range(1, 700):
            publish(meeting_channel("M"), encode("m:M", seq, None, b"{}"))
        assert publish(meeting_channel("N"), encode("m:N", 1, None, b"{}")) == 0
        publish(CONTROL, b"session S")
        wait_for(lambda: ears.orders == ["session S"])
        wait_for(lambda: [w.seq for w in ears.wakeups] == list(range(1, 700)))
        ears.subscriber.follow("M", False)
        wait_for(lambda: publish(meeting_channel("M"), encode("m:M", 999, None, b"{}")) == 0)


def test_a_meeting_is_followed_as_long_as_yes_was_said_more_often_than_no_in_any_order() -> None:
    with Valkey() as valkey, listening(valkey) as (ears, publish):
        channel = meeting_channel("M")

        def heard() -> int:
            return publish(channel, encode("m:M", 1, None, b"{}"))

        # The last one of a meeting goes while the first one comes, and the hub's calls overtake each other.
        ears.subscriber.follow("M", True)
        ears.subscriber.follow("M", True)
        ears.subscriber.follow("M", False)
        wait_for(lambda: heard() == 1)
        ears.subscriber.follow("M", False)
        wait_for(lambda: heard() == 0)
        ears.subscriber.follow("M", False)
        ears.subscriber.follow("M", True)
        ears.subscriber.follow("M", True)
        wait_for(lambda: heard() == 1)
        assert ears.subscriber._wanted == {CONTROL: 1, channel: 1}


def test_m6_a_redis_that_was_killed_is_connected_anew_with_all_that_is_wanted_and_a_gap() -> None:
    port = free_port()
    with Valkey(port=port) as valkey:
        with listening(valkey) as (ears, publish):
            ears.subscriber.follow("M", True)
            wait_for(lambda: publish(meeting_channel("M"), encode("m:M", 1, None, b"{}")))
        gaps = ears.gaps
        assert valkey.process is not None
        valkey.process.kill()
        wait_for(lambda: not ears.subscriber.is_connected)
        wait_for(lambda: ears.gaps > gaps)
        ears.subscriber.follow("N", True)
        ears.subscriber.follow("M", True)
        ears.subscriber.follow("M", False)
        valkey.process.wait()
    gaps = ears.gaps
    with Valkey(port=port) as valkey:
        wait_for(lambda: ears.subscriber.is_connected and ears.gaps > gaps)
        with redis.Redis.from_url(valkey.url) as client:
            wait_for(lambda: client.publish(meeting_channel("M"), encode("m:M", 2, None, b"{}")))
            wait_for(lambda: client.publish(meeting_channel("N"), encode("m:N", 2, None, b"{}")))
            wait_for(lambda: {w.stream for w in ears.wakeups} >= {"m:M", "m:N"})


def test_f9_a_redis_that_hangs_is_noticed_soon_and_newcomers_do_not_wait_for_it() -> None:
    with Valkey() as valkey, listening(valkey) as (ears, publish):
        gaps = ears.gaps
        assert valkey.process is not None
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: not ears.subscriber.is_connected, 2.5)
            wait_for(lambda: ears.gaps > gaps, 0.5)
            done = threading.Event()

            def come() -> None:
                ears.subscriber.follow("M", True)
                done.set()

            threading.Thread(target=come, daemon=True).start()
            assert done.wait(0.5)
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        wait_for(lambda: publish(meeting_channel("M"), encode("m:M", 1, None, b"{}")) == 1, 8)


def test_who_comes_and_goes_while_it_connects_is_followed_right(monkeypatch: pytest.MonkeyPatch) -> None:
    with Valkey() as valkey:
        meanwhile: list[Callable[[], None]] = []

        class SlowWire(Wire):
            def send(self, commands: bytes) -> None:
                super().send(commands)
                while meanwhile:
                    meanwhile.pop()()

        monkeypatch.setattr(module, "Wire", SlowWire)
        ears: Ears = Ears.__new__(Ears)
        ears.wakeups, ears.orders, ears.gaps = [], [], 0
        ears.subscriber = Subscriber(valkey.url, ears.wakeups.extend, ears.orders.append, ears._gap)
        ears.subscriber.follow("gone", True)
        meanwhile += [lambda: ears.subscriber.follow("new", True), lambda: ears.subscriber.follow("gone", False)]
        threading.Thread(target=ears.subscriber.run, daemon=True).start()
        wait_for(lambda: ears.subscriber.is_connected)
        with redis.Redis.from_url(valkey.url) as client:
            wait_for(lambda: client.publish(meeting_channel("new"), encode("m:new", 1, None, b"{}")) == 1)
            wait_for(lambda: client.publish(meeting_channel("gone"), encode("m:gone", 1, None, b"{}")) == 0)


@pytest.mark.parametrize("poison", [b"", b"m:M x -\n{}", b"\xff\xff"])
def test_f28_a_message_that_nobody_can_read_does_not_make_it_deaf(poison: bytes) -> None:
    with Valkey() as valkey, listening(valkey) as (ears, publish):
        ears.subscriber.follow("M", True)
        wait_for(lambda: publish(meeting_channel("M"), poison))
        wait_for(lambda: publish(meeting_channel("M"), encode("m:M", 1, None, b"{}")))
        publish(CONTROL, b"\xff")
        wait_for(lambda: publish(CONTROL, b"session S") and "session S" in ears.orders)
        wait_for(lambda: publish(meeting_channel("M"), encode("m:M", 2, None, b"{}")) and ears.wakeups)


def test_a_connection_that_breaks_while_a_channel_is_asked_for_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with Valkey() as valkey, listening(valkey) as (ears, publish):
        wire = ears.subscriber._wire
        assert wire is not None

        def broken(_: bytes) -> None:
            raise redis.ConnectionError("gone")

        monkeypatch.setattr(wire, "send", broken)
        ears.subscriber.follow("M", True)
        wait_for(lambda: publish(meeting_channel("M"), encode("m:M", 1, None, b"{}")) == 1)
        assert ears.subscriber.is_connected
