"""What the tests of workers share: a runtime whose jobs go nowhere, and registers that forget what a test adds."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.core.messages import JOBS
from shared.meetings import service as meetings
from shared.meetings.models import meetings as table
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from workers import task


@pytest.fixture
def queue() -> FakeQueue:
    """Where jobs end up here."""
    return FakeQueue()


@pytest.fixture(scope="module")
def apart(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The runtime on a database of this module: periodic tasks look at all rows, and the tests move the clock."""
    with on_own_database(runtime, tmp_path_factory.mktemp("own")) as moved:
        yield moved


@pytest.fixture
def bench(apart: Runtime, clock: FakeClock, queue: FakeQueue) -> Runtime:
    """The runtime that tasks run on here: real database and Valkey, a clock that stands still, nothing is sent."""
    return replace(apart, clock=clock, queue=queue)  # type: ignore[arg-type]


@pytest.fixture
def scene(bench: Runtime) -> Scene:
    """People and meetings."""
    return Scene(bench)


@pytest.fixture
def registers() -> Iterator[None]:
    """Puts the registers of jobs and tasks back as they were."""
    every = (JOBS, task.JOB_TASKS, task.PERIODIC_TASKS)
    before = [dict(register) for register in every]
    yield
    for register, entries in zip(every, before, strict=True):
        register.clear()  # type: ignore[attr-defined]
        register.update(entries)  # type: ignore[attr-defined]


@pytest.fixture
def alone(bench: Runtime) -> None:
    """No meeting of an earlier test is running or planned."""
    with bench.transaction() as tx:
        for row in tx.all(table.select()):
            if row.status == "in_progress":
                meetings.end(tx, row.id, None)
            elif row.status == "scheduled":
                tx.execute(table.update().where(table.c.id == row.id).values(status="cancelled"))
