"""The broker against a real Valkey, and against one that hangs, is away, and comes back."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from dev.process import free_port
from dev.valkey import Valkey
from shared.realtime.broker import BATCH, RedisBroker, SharedBroker, make_broker
from shared.realtime.channels import meeting_channel, server_of
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.once, pytest.mark.timeout(30)]


def wait_for(check: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `check` says yes."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def listening(valkey: Valkey) -> Iterator[Callable[[int], list[bytes]]]:
    """Listen on a channel; yields a function that waits for so many messages."""
    with redis.Redis.from_url(valkey.url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("news")
        pubsub.get_message(timeout=1)

        def take(count: int) -> list[bytes]:
            messages: list[bytes] = []
            until = time.monotonic() + 10
            while len(messages) < count and time.monotonic() < until:
                if message := pubsub.get_message(timeout=0.5):
                    messages.append(message["data"])
            return messages

        yield take


def test_messages_arrive_in_the_order_in_which_they_were_handed_over(
    valkey: Valkey, listening: Callable[[int], list[bytes]]
) -> None:
    broker = RedisBroker(valkey.url)
    sent = [str(n).encode() for n in range(3 * BATCH)]
    for message in sent:
        broker.publish("news", message)
    assert listening(len(sent)) == sent
    assert broker.healthy
    assert broker.dropped == 0


def test_m10_a_publish_returns_at_once_when_redis_is_away_and_the_circuit_drops_what_follows() -> None:
    broker = RedisBroker(f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    for _ in range(100):
        broker.publish("news", b"x")
    assert time.monotonic() - began < 0.2
    wait_for(lambda: not broker.healthy and broker.dropped == 100)
    broker.publish("news", b"x")
    wait_for(lambda: broker.dropped == 101)


def test_m6_f7_a_redis_that_comes_back_is_used_again() -> None:
    port = free_port()
    broker = RedisBroker(f"redis://127.0.0.1:{port}/0")
    broker.publish("news", b"lost")
    wait_for(lambda: not broker.healthy)
    with Valkey(port=port):

        def heals() -> bool:
            broker.publish("news", b"x")
            return broker.healthy

        wait_for(heals)


def test_f9_a_redis_that_hangs_costs_the_caller_nothing() -> None:
    with Valkey() as valkey:
        assert valkey.process is not None
        broker = RedisBroker(valkey.url)
        broker.publish("news", b"x")
        wait_for(lambda: not broker._waiting)
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for _ in range(50):
                broker.publish("news", b"x")
            assert time.monotonic() - began < 0.2
            wait_for(lambda: not broker.healthy, 2)
        finally:
            valkey.process.send_signal(signal.SIGCONT)


def test_a_redis_that_refuses_is_not_healthy_and_what_it_refused_is_known_to_be_lost() -> None:
    with Valkey() as valkey, redis.Redis.from_url(valkey.url) as client:
        told = []
        broker = RedisBroker(valkey.url, on_lost=lambda: told.append(time.monotonic()))
        broker.publish("news", b"x")
        wait_for(lambda: broker._wire is not None and not broker._unanswered)
        client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], categories=["+@all"], reset_channels=True)
        for _ in range(3):
            broker.publish("news", b"x")
        wait_for(lambda: not broker.healthy and bool(told), 2)
        assert broker.dropped == 3
        client.acl_setuser("default", enabled=True, nopass=True, channels=["*"])

        def heals() -> bool:
            broker.publish("news", b"x")
            return broker.healthy

        wait_for(heals)


def test_a_redis_that_is_a_tenth_of_a_second_away_is_slow_to_connect_to_and_healthy(valkey: Valkey) -> None:
    with Proxy(int(valkey.url.rpartition(":")[2].partition("/")[0])) as way:
        way.delay(0.06)  # in each direction
        broker = RedisBroker(f"redis://127.0.0.1:{way.port}/0")
        for _ in range(10):
            broker.publish("news", b"x")
            time.sleep(0.1)
            assert broker.healthy
        wait_for(lambda: broker._wire is not None and not broker._unanswered)
        assert broker.dropped == 0


def test_many_answers_are_heard_and_none_is_held_for_lost(valkey: Valkey) -> None:
    told = []
    broker = RedisBroker(valkey.url, on_lost=lambda: told.append(1))
    for _ in range(40):
        for _ in range(BATCH // 4):
            broker.publish("news", b"x")
        time.sleep(0.01)
    wait_for(lambda: not broker._waiting and not broker._unanswered)
    time.sleep(0.3)
    assert broker.healthy
    assert (broker.dropped, told) == (0, [])


def test_one_server_needs_no_sharing(valkey: Valkey) -> None:
    assert isinstance(make_broker([valkey.url]), RedisBroker)
    assert isinstance(make_broker([valkey.url, valkey.url]), SharedBroker)


def test_channels_are_shared_evenly_and_always_the_same_way() -> None:
    channels = [meeting_channel(f"01M8CS6YEDJD4ZZFPK4HP{n:05}") for n in range(3000)]
    assert [sum(server_of(each, 3) == n for each in channels) > 900 for n in range(3)] == [True] * 3
    assert server_of("parley:m:01M8CS6YEDJD4ZZFPK4HP6PKZN", 3) == 0  # nor does it change with a release


def test_of_several_servers_each_carries_its_own_channels_and_one_that_is_away_takes_no_others_along() -> None:
    with Valkey() as first, Valkey() as second:
        broker = make_broker([first.url, second.url])
        ours = [next(name for n in range(99) if server_of(name := f"news {n}", 2) == server) for server in (0, 1)]
        with redis.Redis.from_url(first.url) as one, redis.Redis.from_url(second.url) as two:
            ears = [client.pubsub(ignore_subscribe_messages=True) for client in (one, two)]
            for ear in ears:
                ear.subscribe(*ours)
                ear.get_message(timeout=1)
                ear.get_message(timeout=1)
            for name in ours:
                broker.publish(name, name.encode())
            for ear, name in zip(ears, ours, strict=True):
                heard = ear.get_message(timeout=5)
                assert heard is not None
                assert heard["data"] == name.encode()
                assert ear.get_message(timeout=0.1) is None  # the other one's went elsewhere
            assert broker.healthy
            first.stop()
            broker.publish(ours[0], b"lost")
            wait_for(lambda: not broker.healthy)
            broker.publish(ours[1], b"heard")
            heard = ears[1].get_message(timeout=5)
            assert heard is not None
            assert heard["data"] == b"heard"
