"""Beat's schedule."""

import pytest

from shared.core.queue import LANES
from workers import app  # noqa: F401  registers every task
from workers.beat import schedule
from workers.task import PERIODIC_TASKS, every

pytestmark = pytest.mark.once


def test_everything_periodic_is_on_the_schedule_and_nothing_else() -> None:
    entries = schedule()

    assert entries.keys() == PERIODIC_TASKS.keys()
    assert {entry["task"] for entry in entries.values()} == entries.keys()


@pytest.mark.parametrize("name", sorted(PERIODIC_TASKS))
def test_an_entry_says_when_where_and_until_when(name: str) -> None:
    entry, task = schedule()[name], PERIODIC_TASKS[name]

    assert entry["schedule"].total_seconds() == task.every_seconds
    assert entry["options"]["queue"] == task.lane
    assert task.lane in LANES
    assert task.every_seconds <= entry["options"]["expires"] <= max(task.every_seconds, 5)
    assert entry["options"]["ignore_result"]


@pytest.mark.usefixtures("registers")
def test_a_new_periodic_task_needs_no_second_place() -> None:
    every(7, "test.tick")(lambda _runtime: 0)

    assert schedule()["test.tick"]["schedule"].total_seconds() == 7


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("outbox.relay", 5),
        ("participants.sweep_processes", 5),
        ("participants.sweep_stale", 5),
        ("meetings.end_overdue", 5),
        ("worker.sign_of_life", 2),
    ],
)
def test_what_others_wait_for_comes_at_least_as_often_as_promised(name: str, seconds: float) -> None:
    assert PERIODIC_TASKS[name].every_seconds <= seconds
    assert PERIODIC_TASKS[name].lane == "fast"
