"""The runtime: what leaves after a commit, and only then."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

import pytest
import redis

from dev.process import free_port
from dev.valkey import Valkey
from shared.core.ids import new_id
from shared.core.messages import MeetingEvent, Signal
from shared.core.outbox import Errand
from shared.core.settings import Settings
from shared.core.streams import meeting_stream
from shared.core.vitals import WAKEUPS_LOST, vitals
from shared.livekit.jobs import DeleteRoom
from shared.realtime import envelope
from shared.realtime.channels import CONTROL, meeting_channel
from shared.runtime import Runtime, build_runtime
from tests.fakes.clock import FakeClock


@dataclass(frozen=True, slots=True, kw_only=True)
class BellRang(MeetingEvent):
    type: ClassVar[str] = "bell"

    def data(self) -> dict[str, Any]:
        return {"tone": "c"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BirdSang(Signal):
    type: ClassVar[str] = "bird"

    def data(self) -> dict[str, Any]:
        return {"song": "tweet"}


@dataclass
class Outside:
    """Stands where broker and queue are, and notes what leaves, in order. `look` runs at every departure."""

    healthy: bool = True
    left: list[tuple[str, bytes]] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)

    def publish(self, channel: str, message: bytes) -> None:
        self.left.append((channel, message))

    def dispatch(self, errands: Sequence[Errand]) -> None:
        self.errands.extend(errands)


class Undo(Exception):
    """Ends a transaction without a commit."""


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def watched(timed: Runtime, outside: Outside) -> Runtime:
    return replace(timed, broker=outside, queue=outside)  # type: ignore[arg-type]


def say_everything(runtime: Runtime, outside: Outside, meeting_id: str) -> None:
    with runtime.transaction() as tx:
        tx.enqueue(DeleteRoom(room=meeting_id))
        tx.order("session s1")
        tx.emit(BirdSang(meeting_id=meeting_id))
        tx.emit(BellRang(meeting_id=meeting_id))
        assert (outside.left, outside.errands) == ([], [])


def test_events_then_signals_then_orders_and_jobs_leave_after_the_commit(watched, outside, clock) -> None:
    meeting_id = new_id()
    say_everything(watched, outside, meeting_id)

    channels = [channel for channel, _ in outside.left]
    assert channels == [meeting_channel(meeting_id), meeting_channel(meeting_id), CONTROL]
    event, signal = (envelope.decode(message) for _, message in outside.left[:2])
    at = envelope.timestamp(clock.now())
    assert (event.stream, event.seq, event.effect) == (meeting_stream(meeting_id), 1, None)
    assert event.frame.decode() == (
        f'{{"type":"bell","meeting_id":"{meeting_id}","user_id":null,"data":{{"tone":"c"}},'
        f'"timestamp":"{at}","stream":"meeting","seq":1}}'
    )
    assert (signal.seq, signal.effect) == (0, None)
    assert b'"data":{"song":"tweet"}' in signal.frame
    assert signal.frame.endswith(b'"stream":null,"seq":null}')
    assert outside.left[2][1] == b"session s1"
    assert [errand.name for errand in outside.errands] == ["livekit.delete_room"]


def test_what_leaves_can_be_read_by_others_already(watched, outside) -> None:
    seen: list[bool] = []

    def look(_channel: str, _message: bytes) -> None:
        with watched.reading() as tx:
            seen.append(tx.connection.exec_driver_sql("SELECT count(*) FROM events").scalar() > before)

    with watched.reading() as tx:
        before = tx.connection.exec_driver_sql("SELECT count(*) FROM events").scalar()
    outside.publish = look
    with watched.transaction() as tx:
        tx.emit(BellRang(meeting_id=new_id()))

    assert seen == [True]


def test_nothing_leaves_when_the_transaction_is_undone(watched, outside) -> None:
    with suppress(Undo), watched.transaction() as tx:
        tx.enqueue(DeleteRoom(room="r"))
        tx.order("session s1")
        tx.emit(BirdSang(meeting_id=new_id()))
        tx.emit(BellRang(meeting_id=new_id()))
        raise Undo

    assert (outside.left, outside.errands) == ([], [])


def test_nothing_leaves_from_a_transaction_that_only_reads(watched, outside) -> None:
    with watched.reading() as tx:
        tx.order("session s1")
        tx.enqueue(DeleteRoom(room="r"))

    assert (outside.left, outside.errands) == ([], [])


def test_the_runtime_tells_the_time_of_its_clock(watched: Runtime, clock: FakeClock) -> None:
    assert watched.now() == clock.now()
    clock.pass_(hours=1)
    with watched.transaction() as tx:
        assert tx.now == watched.now() == clock.now()


@pytest.fixture
def unreachable() -> Settings:
    """Settings of a machine where neither database nor Redis answer."""
    return Settings(
        env="test",
        secret_key="s" * 40,
        database_url=f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none",
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
    )


@pytest.mark.once
def test_building_connects_to_nothing(unreachable: Settings) -> None:
    built = build_runtime(unreachable)

    assert built.settings is unreachable
    assert built.broker.healthy
    assert built.queue.healthy
    assert built.celery.conf.broker_url == unreachable.redis_url


@pytest.fixture
def subscriber(valkey: Valkey) -> Iterator["redis.client.PubSub"]:
    with redis.Redis.from_url(valkey.url) as client, client.pubsub() as pubsub:
        yield pubsub


def test_the_real_runtime_tells_every_process_through_valkey(runtime: Runtime, subscriber: Any) -> None:
    meeting_id = new_id()
    subscriber.subscribe(meeting_channel(meeting_id))
    assert subscriber.get_message(timeout=5.0)["type"] == "subscribe"

    with runtime.transaction() as tx:
        tx.emit(BellRang(meeting_id=meeting_id))

    message = subscriber.get_message(timeout=5.0)
    assert envelope.decode(message["data"]).seq == 1


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_process_that_cannot_reach_redis_raises_an_alarm_in_the_database(runtime: Runtime) -> None:
    def raised_at() -> datetime | None:
        with runtime.reading() as tx:
            return tx.scalar(vitals.select().with_only_columns(vitals.c.seen_at).where(vitals.c.name == WAKEUPS_LOST))

    began = runtime.now()
    cut_off = build_runtime(replace(runtime.settings, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    with cut_off.transaction() as tx:
        tx.emit(BellRang(meeting_id=new_id()))

    wait_for(lambda: (raised_at() or began) > began)
    cut_off.database.dispose()


@pytest.mark.once
def test_an_alarm_that_cannot_be_raised_either_is_a_line_in_the_log(
    unreachable: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    build_runtime(unreachable).broker.publish("channel", b"message")

    wait_for(lambda: "alarm_not_raised" in [record.message for record in caplog.records])
