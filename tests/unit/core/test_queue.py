"""The road to Celery, on a real Valkey (in a database of its own: no worker listens there)."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from dev.process import free_port
from dev.valkey import Valkey
from shared.core import outbox, queue
from shared.core.background import Background
from shared.core.outbox import Errand
from shared.core.queue import TaskQueue, make_celery

pytestmark = pytest.mark.once

ERRAND = Errand("01J00000000000000000000000", "livekit.delete_room", "media")


@pytest.fixture
def url(valkey: Valkey) -> str:
    return f"redis://127.0.0.1:{valkey.port}/7"


@pytest.fixture
def client(url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield client
        client.flushdb()


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def sender_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "task-queue"}


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == queue.__name__]


def message_in(client: "redis.Redis", lane: str) -> dict[str, Any]:
    (raw,) = client.lrange(lane, 0, -1)  # type: ignore[misc]
    return dict(json.loads(raw))


def test_a_message_carries_the_name_and_the_rows_id_and_nothing_else_of_the_job(url, client) -> None:
    TaskQueue(make_celery(url)).send(ERRAND)

    message = message_in(client, "media")
    assert message["headers"]["task"] == "livekit.delete_room"
    assert message["headers"]["ignore_result"] is True
    assert message["content-type"] == "application/json"
    assert message["properties"]["delivery_mode"] == 2
    assert client.keys("celery-task-meta-*") == []


def test_dispatched_errands_are_sent_in_order_by_another_thread(url, client) -> None:
    errands = [Errand(f"{n:026}", "livekit.delete_room", "media") for n in range(20)]
    TaskQueue(make_celery(url)).dispatch(errands)

    eventually(lambda: client.llen("media") == 20)
    sent = [json.loads(raw)["headers"]["argsrepr"] for raw in reversed(client.lrange("media", 0, -1))]
    assert sent == [f"['{errand.id}']" for errand in errands]


def test_every_lane_is_a_queue_of_its_own(url, client) -> None:
    TaskQueue(make_celery(url)).dispatch([Errand(ERRAND.id, "any", lane) for lane in queue.LANES])

    eventually(lambda: all(client.llen(lane) == 1 for lane in queue.LANES))


def test_nothing_to_send_starts_no_thread(url) -> None:
    before = sender_threads()
    TaskQueue(make_celery(url)).dispatch(())

    assert sender_threads() == before


def test_one_thread_serves_all_callers(url, client) -> None:
    tasks = TaskQueue(make_celery(url))
    before = sender_threads()
    callers = [threading.Thread(target=tasks.dispatch, args=([ERRAND],)) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    eventually(lambda: client.llen("media") == 20)
    assert len(sender_threads() - before) == 1


def test_a_broker_that_is_away_costs_the_caller_nothing_and_opens_the_circuit(caplog) -> None:
    tasks = TaskQueue(make_celery(f"redis://127.0.0.1:{free_port()}/0"))
    assert tasks.healthy

    began = time.perf_counter()
    tasks.dispatch([ERRAND])
    assert time.perf_counter() - began < 0.5  # a connection that is refused costs the sender two seconds

    eventually(lambda: complaints(caplog) == ["broker_unreachable"])
    assert not tasks.healthy


def test_while_the_circuit_is_open_nothing_is_tried(monkeypatch, caplog) -> None:
    monkeypatch.setattr(queue, "OPEN_SECONDS", 30.0)
    tasks = TaskQueue(make_celery(f"redis://127.0.0.1:{free_port()}/0"))
    tasks.dispatch([ERRAND] * 100)

    eventually(lambda: not tasks.healthy and not tasks._waiting)
    assert complaints(caplog) == ["broker_unreachable"]


def test_the_circuit_closes_by_itself_and_sending_goes_on_when_the_broker_is_back(monkeypatch) -> None:
    monkeypatch.setattr(queue, "OPEN_SECONDS", 0.1)
    port = free_port()
    tasks = TaskQueue(make_celery(f"redis://127.0.0.1:{port}/0"))
    tasks.dispatch([ERRAND])
    eventually(lambda: not tasks.healthy)

    with Valkey(port=port) as server, redis.Redis.from_url(server.url) as client:
        eventually(lambda: tasks.healthy)
        tasks.dispatch([ERRAND])
        eventually(lambda: client.llen("media") == 1)


def test_sending_now_raises_soon_when_the_broker_is_away() -> None:
    tasks = TaskQueue(make_celery(f"redis://127.0.0.1:{free_port()}/0"))

    for _ in range(2):  # the second time too: a client with results would block for 19 s (trap T12e)
        began = time.perf_counter()
        with pytest.raises(Exception, match="refused"):
            tasks.send(ERRAND)
        assert time.perf_counter() - began < 4


def test_that_the_broker_lost_everything_is_told_until_a_new_mark_is_there(url, client) -> None:
    tasks = TaskQueue(make_celery(url))
    assert tasks.has_forgotten()
    tasks.remember()
    assert not tasks.has_forgotten()
    assert not TaskQueue(make_celery(url)).has_forgotten()  # nor to another process
    client.flushdb()
    assert tasks.has_forgotten()


def test_a_broker_that_is_away_has_forgotten_nothing() -> None:
    with pytest.raises(redis.ConnectionError):
        TaskQueue(make_celery(f"redis://127.0.0.1:{free_port()}/0")).has_forgotten()


def test_a_backlog_of_a_long_outage_is_bounded(url, monkeypatch) -> None:
    monkeypatch.setattr(Background, "wake", lambda self: None)
    tasks = TaskQueue(make_celery(url))
    tasks.dispatch([ERRAND] * (queue.BACKLOG + 5))

    assert len(tasks._waiting) == queue.BACKLOG


def test_a_task_is_over_before_its_message_or_its_row_goes_to_another_worker() -> None:
    conf = make_celery("redis://127.0.0.1:1/0").conf
    visible_again = {
        conf.visibility_timeout,
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
    }

    assert conf.task_soft_time_limit < conf.task_time_limit < outbox.LEASE_SECONDS < min(visible_again)
    assert len(visible_again) == 1


def test_work_survives_its_worker_and_only_json_is_read() -> None:
    conf = make_celery("redis://127.0.0.1:1/0").conf

    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
    assert conf.broker_transport_options["unacked_restore_throttle"] == 1


def test_a_worker_that_loses_the_broker_with_work_in_hand_can_close_what_is_left() -> None:
    """As Celery's consumer does, which ends of anything but a connection error."""
    with Valkey(port=free_port()) as own:
        celery = make_celery(own.url)
        TaskQueue(celery).send(ERRAND)
        connection = celery.connection_for_read()
        channel = connection.default_channel
        message = channel.basic_get("media")
        assert message is not None
        for one in (channel, connection.channel()):
            one.basic_consume("media", no_ack=False, callback=print, consumer_tag="worker")
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)  # both wait for the next one
        own.stop()
    with suppress(*connection.connection_errors):
        connection.collect(socket_timeout=1)
    connection.close()
    message.ack_log_error(queue.log, connection.connection_errors)
    assert not connection.connected
