"""While Valkey is away a decision costs no more time, and nothing that was decided is lost."""

import gc
import signal
import time

import pytest

from shared.core.ids import new_id
from shared.core.outbox import FIRST_RELAY_SECONDS
from tests.integration.workers.conftest import Ground, eventually
from tests.integration.workers.jobs import Count

RELAY_SECONDS = FIRST_RELAY_SECONDS + 5
RECONNECT_SECONDS = 10


@pytest.fixture(scope="module", autouse=True)
def processes(ground: Ground) -> None:
    """One worker, one beat, and a web process, all of them at work; a job from here is done, and a meeting has ended.

    What is measured then is a broker that is away. Three programs that begin would keep two cores busy meanwhile.
    """
    ground.start_worker()
    ground.stack.start_beat()
    ground.stack.start_web()
    ground.stack.wait_until_up(0)
    ground.forget_signs()  # that of a worker which begins: the next one is given because beat asks for it
    eventually(ground.worker_is_alive, 30)
    ground.are_done(ground.enqueue(Count(label=f"effect {new_id()}")), 20)
    end_a_meeting(ground)


@pytest.fixture
def labels() -> list[str]:
    return [f"effect {new_id()}" for _ in range(20)]


def slowest(ground: Ground, labels: list[str]) -> tuple[float, list[str]]:
    """Enqueue a job per label; return the slowest transaction's seconds, and the rows."""
    ids, slow = [], 0.0
    # In a process that has read all tests a full collection takes 0.3 s, and 1 s on busy cores. Those tests are no part
    # of the product: collected now, they are not collected in the middle of a transaction.
    gc.collect()
    for label in labels:
        began = time.perf_counter()
        ids += ground.enqueue(Count(label=label))
        slow = max(slow, time.perf_counter() - began)
    return slow, ids


def end_a_meeting(ground: Ground) -> tuple[float, str]:
    """Let a host end a meeting, which decides on a job; return the slowest request's seconds and the meeting."""
    host = ground.stack.person()
    meeting_id = ground.stack.meeting(host)
    seconds = []
    for path in ("join", "leave", "end"):
        began = time.perf_counter()
        assert host.post(f"/meetings/{meeting_id}/{path}").status == 200
        seconds.append(time.perf_counter() - began)
    return max(seconds), meeting_id


@pytest.mark.parametrize("fault", ["down", "hung"])
def test_while_the_broker_is_away_requests_are_fast_and_their_jobs_are_done_when_it_is_back(
    ground: Ground, labels: list[str], fault: str
) -> None:
    assert ground.valkey.process is not None
    if fault == "down":
        ground.valkey.stop()
    else:
        ground.valkey.process.send_signal(signal.SIGSTOP)
    try:
        slow, ids = slowest(ground, labels)
        assert slow < 0.3
        end_a_meeting(ground)  # the first request finds out
        slow, meeting_id = end_a_meeting(ground)
        assert slow < 0.5
        assert ground.states(ids) == {"pending"}
    finally:
        if fault == "down":
            ground.valkey.start()
        else:
            ground.valkey.process.send_signal(signal.SIGCONT)

    ground.are_done(ids, RELAY_SECONDS + RECONNECT_SECONDS)
    assert ground.counted(labels) == len(labels)
    eventually(lambda: tried_to_delete_the_room(ground, meeting_id), RELAY_SECONDS + RECONNECT_SECONDS)


def tried_to_delete_the_room(ground: Ground, meeting_id: str) -> bool:
    """Tell whether a worker has had the job in its hands; there is no LiveKit server here."""
    with ground.runtime.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT name, payload, attempts FROM outbox").all()
    return any(meeting_id in str(row.payload) and row.attempts > 0 for row in rows)


def test_a_worker_consumes_again_soon_after_the_broker_is_back(ground: Ground, labels: list[str]) -> None:
    eventually(ground.worker_is_alive, 20)
    ground.valkey.stop()
    time.sleep(0.5)
    ground.valkey.start()

    ids = ground.enqueue(*(Count(label=label) for label in labels))
    ground.are_done(ids, RELAY_SECONDS + RECONNECT_SECONDS)
