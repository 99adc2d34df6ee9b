"""From a commit to the work's one effect, whatever is killed in between."""

import os
import signal
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from shared.core import outbox
from shared.core.ids import new_id
from shared.core.outbox import FIRST_RELAY_SECONDS, MAX_ATTEMPTS
from shared.core.queue import MARK
from tests.integration.workers.conftest import Ground, eventually
from tests.integration.workers.jobs import Count, Poison, Work

DIRECTLY = FIRST_RELAY_SECONDS / 2  # so fast only without the relay
BY_RELAY = FIRST_RELAY_SECONDS + 15


@pytest.fixture(scope="module", autouse=True)
def processes(ground: Ground) -> None:
    """One worker and one beat; workers that tests kill are their own."""
    ground.start_worker()
    ground.stack.start_beat()


@pytest.fixture
def labels() -> list[str]:
    return [f"effect {new_id()}" for _ in range(20)]


def lines_of(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_a_job_is_done_soon_after_the_commit(ground: Ground, labels: list[str]) -> None:
    ids = ground.enqueue(*(Count(label=label) for label in labels))

    ground.are_done(ids, DIRECTLY)
    assert ground.counted(labels) == len(labels)
    assert {row.attempts for row in ground.rows(ids)} == {1}


def test_nothing_leaves_when_the_transaction_is_undone(ground: Ground, labels: list[str]) -> None:
    with suppress(ZeroDivisionError), ground.runtime.transaction() as tx:
        tx.enqueue(Count(label=labels[0]))
        raise ZeroDivisionError
    ground.are_done(ground.enqueue(Count(label=labels[1])), DIRECTLY)  # what came later is done

    assert ground.counted(labels) == 1


def test_messages_that_come_twice_and_at_once_have_one_effect(ground: Ground, labels: list[str]) -> None:
    with ground.runtime.transaction() as tx:
        for label in labels:
            tx.enqueue(Count(label=label))
    ground.runtime.queue.dispatch(tx.errands)
    ground.runtime.queue.dispatch(tx.errands)
    ids = [errand.id for errand in tx.errands]

    ground.are_done(ids, DIRECTLY)
    assert ground.counted(labels) == len(labels)
    assert {row.attempts for row in ground.rows(ids)} == {1}


def test_after_flushall_jobs_on_their_way_are_done_and_new_ones_go_the_direct_road(
    ground: Ground, labels: list[str]
) -> None:
    lost, later = labels[:10], labels[10:]
    ids = ground.lose(*(Count(label=label) for label in lost))
    with ground.client as client:
        client.flushall()

    ground.are_done(ground.enqueue(*(Count(label=label) for label in later)), DIRECTLY)
    ground.are_done(ids, BY_RELAY)
    assert ground.counted(labels) == len(labels)


def test_after_flushall_what_would_wait_for_long_yet_is_done_soon(ground: Ground, labels: list[str]) -> None:
    """A row that waited in a long queue is looked at ever less often; that its message is lost is seen by a mark."""
    with ground.client as client:
        eventually(lambda: client.exists(MARK) == 1, BY_RELAY)
        later = ground.runtime.now() + timedelta(minutes=5)
        with ground.runtime.database.connection() as connection:
            errands = outbox.write(connection, {new_id(): Count(label=label) for label in labels}, later)
        client.flushall()

    ground.are_done([errand.id for errand in errands], BY_RELAY)
    assert ground.counted(labels) == len(labels)


def test_a_task_whose_pool_process_is_killed_is_done_by_another_one_at_once(ground: Ground, tmp_path: Path) -> None:
    file = tmp_path / "work"
    ids = ground.enqueue(Work(file=str(file), seconds=60.0))
    eventually(lambda: len(lines_of(file)) == 1, DIRECTLY)

    os.kill(int(lines_of(file)[0][1]), signal.SIGKILL)

    ground.are_done(ids, 15)
    (_, killed), (_, second), end = lines_of(file)
    assert killed != second
    assert end == ["ended", second]
    assert ground.rows(ids)[0].attempts == 2


def test_a_task_whose_whole_worker_is_killed_is_done_by_another_worker(ground: Ground, tmp_path: Path) -> None:
    """In production after 100 s at most; here leases are short."""
    file = tmp_path / "work"
    with ground.only("victim", TEST_LEASE_SECONDS="2"):
        ids = ground.enqueue(Work(file=str(file), seconds=60.0))
        eventually(lambda: len(lines_of(file)) == 1, 20)
        ground.stack.kill("victim")

    ground.are_done(ids, 2 + 5 + 10)  # the lease, the relay's period, and some
    assert [what for what, _ in lines_of(file)] == ["began", "began", "ended"]


def test_poison_that_raises_ends_in_the_dead_letters_and_blocks_nobody(ground: Ground, labels: list[str]) -> None:
    poison = ground.send_last_attempts(*[Poison(kills=False)] * 4)

    ground.are_done(ground.enqueue(*(Count(label=label) for label in labels)), DIRECTLY)
    eventually(lambda: ground.states(poison) == {"dead"}, 10)
    assert {(row.attempts, row.error) for row in ground.rows(poison)} == {(MAX_ATTEMPTS, "RuntimeError: poison")}


def test_poison_that_kills_its_worker_is_buried_and_blocks_nobody(ground: Ground, labels: list[str]) -> None:
    poison = ground.send_last_attempts(Poison(kills=True), left=2)

    # Celery looks every 5 s whether a process is missing; the poison kills twice.
    ground.are_done(ground.enqueue(*(Count(label=label) for label in labels)), DIRECTLY + 2 * 5)
    eventually(lambda: ground.states(poison) == {"dead"}, 20)
    assert "never came to an end" in ground.rows(poison)[0].error
    ground.are_done(ground.enqueue(Count(label=f"effect {new_id()}")), DIRECTLY)  # the pool is whole again
