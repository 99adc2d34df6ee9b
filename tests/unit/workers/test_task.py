"""What every task does around its work: claim, do, mark; lease, do."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from sqlalchemy import Row, update

from shared.core import outbox
from shared.core.ids import new_id
from shared.core.messages import JOBS, Job
from shared.core.outbox import LEASE_SECONDS, MAX_ATTEMPTS
from shared.core.transaction import Transaction
from shared.core.vitals import vitals
from shared.runtime import Runtime
from tests.factories.counted import counted
from tests.fakes.clock import FakeClock
from workers.task import JOB_TASKS, PERIODIC_TASKS, every, in_transaction, outside, run_job, run_periodic

pytestmark = pytest.mark.usefixtures("registers")


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeNote(Job):
    """Test only: leave a sign of life under a name."""

    name: ClassVar[str] = "test.make_note"
    note: str


del JOBS[MakeNote.name]  # others count the product's jobs


@pytest.fixture
def note() -> str:
    return f"note {new_id()}"


def put(runtime: Runtime, job: Job) -> str:
    with runtime.transaction() as tx:
        tx.enqueue(job)
    return tx.errands[0].id


def row_of(runtime: Runtime, row_id: str) -> Row:
    with runtime.reading() as tx:
        row = tx.first(outbox.outbox.select().where(outbox.outbox.c.id == row_id))
    assert row is not None
    return row


def noted_at(runtime: Runtime, note: str) -> datetime | None:
    with runtime.reading() as tx:
        row = tx.first(vitals.select().where(vitals.c.name == note))
    return None if row is None else row.seen_at


def runs(task: str, outcome: str) -> float:
    return counted("parley_tasks_total", task=task, outcome=outcome)


def write_note(tx: Transaction, job: MakeNote) -> None:
    tx.execute(vitals.insert().values(name=job.note, seen_at=tx.now))  # a second insert of it fails


def test_a_job_is_done_and_its_row_with_it(bench: Runtime, note: str) -> None:
    assert in_transaction(MakeNote)(write_note) is write_note
    row_id = put(bench, MakeNote(note=note))
    before = runs("test.make_note", "done")

    assert run_job(bench, "test.make_note", row_id) == "done"

    row = row_of(bench, row_id)
    assert (row.state, row.attempts, row.finished_at) == ("done", 1, bench.now())
    assert noted_at(bench, note) == bench.now()
    assert runs("test.make_note", "done") == before + 1


def test_how_long_a_job_waited_for_its_first_attempt_is_counted_once(
    bench: Runtime, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def waited() -> tuple[float, float]:
        return (
            counted("parley_job_wait_seconds_count", lane="default"),
            counted("parley_job_wait_seconds_sum", lane="default"),
        )

    def fail(_tx: Transaction, _job: MakeNote) -> None:
        raise RuntimeError("not yet")

    in_transaction(MakeNote)(fail)
    row_id = put(bench, MakeNote(note="x"))
    times, seconds = waited()
    clock.pass_(seconds=7)
    for _ in range(2):
        assert run_job(bench, "test.make_note", row_id) == "retry"
        clock.pass_(minutes=10)

    assert waited()[0] == times + 1
    assert waited()[1] - seconds == pytest.approx(7)


def test_a_message_that_comes_twice_has_one_effect(bench: Runtime, clock: FakeClock, note: str) -> None:
    in_transaction(MakeNote)(write_note)
    row_id = put(bench, MakeNote(note=note))

    assert run_job(bench, "test.make_note", row_id) == "done"
    clock.pass_(hours=1)
    assert run_job(bench, "test.make_note", row_id) == "skipped"
    assert row_of(bench, row_id).attempts == 1


def test_a_worker_that_was_taken_for_dead_and_its_successor_have_one_effect(
    bench: Runtime, clock: FakeClock, note: str
) -> None:
    row_id = put(bench, MakeNote(note=note))
    in_transaction(MakeNote)(write_note)
    slow = JOB_TASKS["test.make_note"].run
    with bench.transaction() as tx:
        claimed = outbox.claim(tx.connection, row_id, "test.make_note", tx.now)
    assert claimed is not None

    clock.pass_(seconds=LEASE_SECONDS)
    assert run_job(bench, "test.make_note", row_id) == "done"
    slow(bench, claimed)  # inserting the note again would raise

    assert row_of(bench, row_id).state == "done"


@pytest.mark.parametrize("row_id", ["0" * 26, "not an id", ""])
def test_a_forged_row_id_does_nothing(bench: Runtime, row_id: str) -> None:
    in_transaction(MakeNote)(write_note)

    assert run_job(bench, "test.make_note", row_id) == "skipped"


def test_a_forged_name_cannot_turn_one_job_into_another(bench: Runtime, note: str) -> None:
    in_transaction(MakeNote)(write_note)
    row_id = put(bench, MakeNote(note=note))

    assert run_job(bench, "livekit.delete_room", row_id) == "skipped"

    assert noted_at(bench, note) is None
    assert row_of(bench, row_id).state == "pending"
    assert row_of(bench, row_id).attempts == 0
    assert run_job(bench, "test.make_note", row_id) == "done"


def test_fields_that_a_newer_release_has_written_are_ignored(bench: Runtime, note: str) -> None:
    in_transaction(MakeNote)(write_note)
    row_id = put(bench, MakeNote(note=note))
    with bench.transaction() as tx:
        newer = {"note": note, "colour": "blue"}
        tx.execute(update(outbox.outbox).where(outbox.outbox.c.id == row_id).values(payload=newer))

    assert run_job(bench, "test.make_note", row_id) == "done"
    assert noted_at(bench, note) is not None


def test_a_payload_that_lacks_a_field_is_a_failure_and_not_a_crash(bench: Runtime, caplog) -> None:
    in_transaction(MakeNote)(write_note)
    row_id = put(bench, MakeNote(note="x"))
    with bench.transaction() as tx:
        tx.execute(update(outbox.outbox).where(outbox.outbox.c.id == row_id).values(payload={}))

    assert run_job(bench, "test.make_note", row_id) == "retry"
    assert "TypeError" in row_of(bench, row_id).error


def break_after_writing(tx: Transaction, job: MakeNote) -> None:
    write_note(tx, job)
    raise RuntimeError("half done")


def test_work_that_fails_leaves_no_half_and_is_tried_again(
    bench: Runtime, clock: FakeClock, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    in_transaction(MakeNote)(break_after_writing)
    row_id = put(bench, MakeNote(note=note))

    assert run_job(bench, "test.make_note", row_id) == "retry"

    assert noted_at(bench, note) is None
    row = row_of(bench, row_id)
    assert (row.state, row.error) == ("pending", "RuntimeError: half done")
    assert timedelta(seconds=2) <= row.next_at - clock.now() <= timedelta(seconds=2.5)
    (failure,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (failure.message, failure.__dict__["job_id"], failure.__dict__["attempt"]) == ("job_failed", row_id, 1)


def test_poison_becomes_a_dead_letter_after_the_last_attempt(
    bench: Runtime, clock: FakeClock, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    in_transaction(MakeNote)(break_after_writing)
    row_id = put(bench, MakeNote(note=note))
    outcomes = []
    for _ in range(MAX_ATTEMPTS + 1):
        outcomes.append(run_job(bench, "test.make_note", row_id))
        clock.pass_(minutes=10)

    assert outcomes == ["retry"] * (MAX_ATTEMPTS - 1) + ["dead", "skipped"]
    assert (row_of(bench, row_id).state, row_of(bench, row_id).error) == ("dead", "RuntimeError: half done")


def test_every_outcome_of_a_job_is_a_line_in_the_log(
    bench: Runtime, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="workers.task")
    in_transaction(MakeNote)(write_note)
    done, broken = put(bench, MakeNote(note=note)), put(bench, MakeNote(note=note))
    with bench.transaction() as tx:
        tx.execute(update(outbox.outbox).where(outbox.outbox.c.id == broken).values(attempts=MAX_ATTEMPTS - 2))
    for row_id in (done, done, broken, broken):  # the second note of a name fails
        run_job(bench, "test.make_note", row_id)

    told = [record.__dict__ for record in caplog.records if record.message == "task_over"]
    assert [(each["job_id"], each["outcome"], each["attempt"]) for each in told] == [
        (done, "done", 1),
        (done, "skipped", None),
        (broken, "retry", MAX_ATTEMPTS - 1),
        (broken, "dead", MAX_ATTEMPTS),
    ]
    assert {each["task"] for each in told} == {"test.make_note"}
    assert all(0 <= each["seconds"] < 60 for each in told)


def test_outside_work_is_marked_after_it_was_done(bench: Runtime, note: str) -> None:
    states = []

    @outside(MakeNote)
    def call(runtime: Runtime, job: MakeNote) -> None:
        states.append((job.note, row_of(runtime, row_id).state))

    row_id = put(bench, MakeNote(note=note))

    assert run_job(bench, "test.make_note", row_id) == "done"
    assert states == [(note, "running")]
    assert row_of(bench, row_id).state == "done"


def test_outside_work_that_fails_is_tried_again(bench: Runtime, clock: FakeClock, caplog) -> None:
    answers: list[Callable[[], None]] = [lambda: None]

    @outside(MakeNote)
    def call(_runtime: Runtime, _job: MakeNote) -> None:
        if answers:
            answers.pop()
            raise TimeoutError("no answer")

    row_id = put(bench, MakeNote(note="x"))

    assert run_job(bench, "test.make_note", row_id) == "retry"
    clock.pass_(seconds=2)
    assert run_job(bench, "test.make_note", row_id) == "done"
    assert row_of(bench, row_id).attempts == 2


@pytest.mark.parametrize("register", [in_transaction, outside])
def test_a_job_has_one_worker(register) -> None:
    register(MakeNote)(lambda *_: None)

    with pytest.raises(TypeError, match=r"test\.make_note has two workers"):
        register(MakeNote)(lambda *_: None)


def test_a_periodic_task_has_one_name() -> None:
    every(5, "test.tick")(lambda _runtime: 0)

    with pytest.raises(TypeError, match=r"test\.tick is registered twice"):
        every(5, "test.tick")(lambda _runtime: 0)


def periodic(name: str, seconds: float, work: Callable[[Runtime], int]) -> None:
    """Register periodic work under a name that no other test has used: leases last."""
    assert every(seconds, name, lane="fast")(work) is work
    assert PERIODIC_TASKS[name].lane == "fast"


def test_two_beats_make_one_effect_a_period(bench: Runtime, clock: FakeClock) -> None:
    name, runs = f"test.{new_id()}", iter(range(99))
    periodic(name, 5, lambda _runtime: next(runs))
    outcomes = []
    for _ in range(4):
        outcomes += [run_periodic(bench, name), run_periodic(bench, name)]  # from one beat, and from the other
        clock.pass_(seconds=5)

    assert outcomes == ["done", "skipped"] * 4
    assert next(runs) == 4


def test_a_periodic_message_that_comes_a_little_early_is_not_a_period_lost(bench: Runtime, clock: FakeClock) -> None:
    name = f"test.{new_id()}"
    periodic(name, 5, lambda _runtime: 0)

    assert run_periodic(bench, name) == "done"
    clock.pass_(seconds=3.9)
    assert run_periodic(bench, name) == "skipped"
    clock.pass_(seconds=0.1)
    assert run_periodic(bench, name) == "done"


def test_periodic_work_that_fails_is_logged_and_comes_again(bench: Runtime, clock: FakeClock, caplog) -> None:
    name = f"test.{new_id()}"

    def break_(_runtime: Runtime) -> int:
        raise RuntimeError("broken")

    periodic(name, 5, break_)

    assert run_periodic(bench, name) == "failed"
    assert [record.message for record in caplog.records] == ["periodic_task_failed"]
    assert runs(name, "failed") == 1
    clock.pass_(seconds=5)
    assert run_periodic(bench, name) == "failed"


@pytest.mark.parametrize(("count", "lines"), [(0, 0), (3, 1)])
def test_periodic_work_says_what_it_did_only_when_there_was_something_to_do(
    bench: Runtime, caplog: pytest.LogCaptureFixture, count: int, lines: int
) -> None:
    caplog.set_level(logging.INFO, logger="workers.task")
    name = f"test.{new_id()}"
    periodic(name, 5, lambda _runtime: count)
    run_periodic(bench, name)

    assert [record.__dict__["count"] for record in caplog.records if record.message == "periodic_task"] == [3] * lines


def test_the_lease_does_not_keep_the_row_locked_while_the_work_runs(bench: Runtime) -> None:
    name = f"test.{new_id()}"
    inner: list[str] = []

    def work(runtime: Runtime) -> int:
        inner.append(run_periodic(runtime, name))
        return 0

    periodic(name, 5, work)

    assert run_periodic(bench, name) == "done"
    assert inner == ["skipped"]
