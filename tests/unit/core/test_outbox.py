"""The outbox, on a real database of its own: others may still write into the common one while these look at it whole.

Each test works in a transaction of its own, and undoes it.
"""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Row, exc, func, select, update

from shared.core import outbox
from shared.core.ids import new_id
from shared.core.outbox import KEEP_DONE, LEASE_SECONDS, MAX_ATTEMPTS, Claim
from shared.core.tracing import Cause
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.fakes.clock import FakeClock


@pytest.fixture(scope="module")
def own(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with on_own_database(runtime, tmp_path_factory.mktemp("own")) as moved:
        yield moved


@pytest.fixture
def connection(own: Runtime) -> Iterator[Connection]:
    with own.database.engine.connect() as connection:
        undone = connection.begin()
        yield connection
        undone.rollback()


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    return clock.now()


NAME = DeleteRoom.name


def put(connection: Connection, now: datetime, room: str = "r") -> str:
    return outbox.write(connection, {new_id(): DeleteRoom(room=room)}, now)[0].id


def row_of(connection: Connection, row_id: str) -> Row:
    return connection.execute(select(outbox.outbox).where(outbox.outbox.c.id == row_id)).one()


def must_claim(connection: Connection, row_id: str, now: datetime) -> Claim:
    claimed = outbox.claim(connection, row_id, NAME, now)
    assert claimed is not None
    return claimed


def test_a_written_job_is_a_pending_row_and_an_errand_that_carries_no_payload(connection, now) -> None:
    first, second = outbox.write(connection, {new_id(): DeleteRoom(room="a"), new_id(): DeleteRoom(room="b")}, now)

    assert (first.name, first.lane) == ("livekit.delete_room", "media")
    assert first.id != second.id
    row = row_of(connection, second.id)
    assert (row.state, row.payload, row.attempts, row.finished_at) == ("pending", {"room": "b"}, 0, None)
    assert row.next_at - now == timedelta(seconds=outbox.FIRST_RELAY_SECONDS)


def test_a_claimed_row_belongs_to_one_worker_for_one_lease(connection, now) -> None:
    row_id = put(connection, now, "a")

    claimed = outbox.claim(connection, row_id, NAME, now)
    assert claimed == Claim(row_id, "livekit.delete_room", {"room": "a"}, 1, 0.0, Cause())
    assert outbox.claim(connection, row_id, NAME, now + timedelta(seconds=LEASE_SECONDS - 1)) is None
    assert must_claim(connection, row_id, now + timedelta(seconds=LEASE_SECONDS)).attempt == 2


def test_a_message_that_is_delivered_again_need_not_wait_for_the_lease_of_the_dead(connection, now) -> None:
    row_id = put(connection, now)
    must_claim(connection, row_id, now)

    again = outbox.claim(connection, row_id, NAME, now, redelivered=True)
    assert again is not None
    assert again.attempt == 2


@pytest.mark.parametrize("redelivered", [False, True])
@pytest.mark.parametrize("state", ["done", "dead"])
def test_a_row_that_is_over_cannot_be_claimed(connection, now, state, redelivered) -> None:
    row_id = put(connection, now)
    connection.execute(update(outbox.outbox).values(state=state))

    assert outbox.claim(connection, row_id, NAME, now + timedelta(days=1), redelivered=redelivered) is None


def test_an_unknown_row_cannot_be_claimed(connection, now) -> None:
    assert outbox.claim(connection, "0" * 26, NAME, now) is None


def test_a_row_of_another_task_cannot_be_claimed_and_loses_no_attempt(connection, now) -> None:
    row_id = put(connection, now)

    assert outbox.claim(connection, row_id, "another.task", now) is None
    assert must_claim(connection, row_id, now).attempt == 1


def test_a_row_whose_workers_all_died_is_buried_by_the_claim_after_the_last_attempt(connection, now) -> None:
    row_id = put(connection, now)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert must_claim(connection, row_id, now).attempt == attempt
        now += timedelta(seconds=LEASE_SECONDS)

    assert outbox.claim(connection, row_id, NAME, now) is None
    row = row_of(connection, row_id)
    assert (row.state, row.finished_at) == ("dead", now)
    assert "never came to an end" in row.error
    assert row.attempts == MAX_ATTEMPTS


def test_finishing_counts_once(connection, now) -> None:
    row_id = put(connection, now)
    must_claim(connection, row_id, now)

    assert outbox.finish(connection, row_id, now)
    assert not outbox.finish(connection, row_id, now)
    row = row_of(connection, row_id)
    assert (row.state, row.finished_at, row.error) == ("done", now, None)


def test_an_unclaimed_row_cannot_be_finished(connection, now) -> None:
    assert not outbox.finish(connection, put(connection, now), now)


def test_a_failed_row_waits_longer_each_time_and_dies_at_last(connection, now) -> None:
    row_id = put(connection, now)
    waits = []
    for _ in range(MAX_ATTEMPTS - 1):
        assert outbox.fail(connection, must_claim(connection, row_id, now), "it broke", now)
        row = row_of(connection, row_id)
        assert (row.state, row.error) == ("pending", "it broke")
        waits.append((row.next_at - now).total_seconds())
        now = row.next_at

    for wait, least in zip(waits, (2, 4, 8, 16), strict=True):
        assert least <= wait <= least * 1.25
    assert not outbox.fail(connection, must_claim(connection, row_id, now), "x" * 5000, now)
    row = row_of(connection, row_id)
    assert (row.state, row.finished_at, len(row.error)) == ("dead", now, 2000)


def test_what_failed_together_does_not_come_again_together(connection, now) -> None:
    ids = [put(connection, now) for _ in range(20)]
    for row_id in ids:
        outbox.fail(connection, must_claim(connection, row_id, now), "the other side is away", now)
    waits = {(row_of(connection, row_id).next_at - now).total_seconds() for row_id in ids}
    assert len(waits) > 10
    assert max(waits) - min(waits) > 0.1


def test_when_the_broker_lost_everything_what_waits_is_due_at_once_and_what_failed_soon(connection, now) -> None:
    waiting, failed, running, done, fresh = (put(connection, now) for _ in range(5))
    outbox.fail(connection, must_claim(connection, failed, now), "it broke", now)
    must_claim(connection, running, now)
    must_claim(connection, done, now)
    outbox.finish(connection, done, now)
    long_ago = update(outbox.outbox).where(outbox.outbox.c.id.in_([waiting, failed]))
    connection.execute(long_ago.values(next_at=now + timedelta(seconds=300)))
    before = {row_id: row_of(connection, row_id) for row_id in (running, done)}

    outbox.hasten(connection, now)

    assert {errand.id for errand in outbox.due(connection, now)} == {waiting, fresh}
    assert outbox.due(connection, now + timedelta(seconds=14)) == []
    assert failed in {errand.id for errand in outbox.due(connection, now + timedelta(seconds=20))}
    assert {row_id: row_of(connection, row_id) for row_id in (running, done)} == before


@pytest.mark.parametrize("attempt", [1, MAX_ATTEMPTS])
def test_a_failure_that_comes_after_the_end_changes_nothing(connection, now, attempt) -> None:
    row_id = put(connection, now)
    connection.execute(update(outbox.outbox).values(attempts=attempt - 1))
    claimed = must_claim(connection, row_id, now)
    outbox.finish(connection, row_id, now)

    outbox.fail(connection, claimed, "too late", now)

    row = row_of(connection, row_id)
    assert (row.state, row.error) == ("done", None)


def test_a_failure_of_a_worker_that_was_taken_for_dead_does_not_disturb_its_successor(connection, now) -> None:
    row_id = put(connection, now)
    old = must_claim(connection, row_id, now)
    now += timedelta(seconds=LEASE_SECONDS)
    must_claim(connection, row_id, now)

    outbox.fail(connection, old, "too late", now)

    assert row_of(connection, row_id).state == "running"
    assert outbox.finish(connection, row_id, now)


def test_a_finished_row_shows_no_error_of_an_earlier_attempt(connection, now) -> None:
    row_id = put(connection, now)
    outbox.fail(connection, must_claim(connection, row_id, now), "it broke", now)
    must_claim(connection, row_id, now)
    outbox.finish(connection, row_id, now)

    assert row_of(connection, row_id).error is None


def test_the_relay_leaves_a_fresh_row_to_the_direct_road_and_then_sends_it(connection, now) -> None:
    row_id = put(connection, now)

    assert outbox.due(connection, now + timedelta(seconds=outbox.FIRST_RELAY_SECONDS - 1)) == []
    (sent,) = outbox.due(connection, now + timedelta(seconds=outbox.FIRST_RELAY_SECONDS))
    assert (sent.id, sent.name, sent.lane) == (row_id, "livekit.delete_room", "media")


def test_a_row_that_nobody_takes_is_sent_ever_less_often_but_never_given_up(connection, now) -> None:
    put(connection, now)
    born, sent_at = now, []
    while now < born + timedelta(hours=1):
        now += timedelta(seconds=5)
        if outbox.due(connection, now):
            sent_at.append(int((now - born).total_seconds()))

    assert sent_at[:5] == [10, 25, 50, 100, 200]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent_at)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 300


def test_a_row_whose_worker_died_is_sent_again_when_its_lease_is_over(connection, now) -> None:
    row_id = put(connection, now)
    must_claim(connection, row_id, now)

    assert outbox.due(connection, now + timedelta(seconds=LEASE_SECONDS - 1)) == []
    assert [errand.id for errand in outbox.due(connection, now + timedelta(seconds=LEASE_SECONDS))] == [row_id]
    assert row_of(connection, row_id).state == "pending"


def bury(connection: Connection, now: datetime) -> None:
    row_id = put(connection, now)
    connection.execute(update(outbox.outbox).where(outbox.outbox.c.id == row_id).values(attempts=MAX_ATTEMPTS - 1))
    assert not outbox.fail(connection, must_claim(connection, row_id, now), "kept for people to look at", now)


def test_rows_that_are_over_are_never_sent(connection, now) -> None:
    done = put(connection, now)
    must_claim(connection, done, now)
    outbox.finish(connection, done, now)
    bury(connection, now)

    assert outbox.due(connection, now + timedelta(days=1)) == []


def test_the_relay_takes_the_longest_due_first_and_a_bounded_number(connection, now) -> None:
    ids = [put(connection, now + timedelta(seconds=n)) for n in range(5)]

    assert [errand.id for errand in outbox.due(connection, now + timedelta(hours=1), limit=3)] == ids[:3]
    assert [errand.id for errand in outbox.due(connection, now + timedelta(hours=1), limit=3)] == ids[3:]


def test_the_oldest_unfinished_row_tells_the_age_of_the_outbox(connection, now) -> None:
    assert outbox.oldest_pending_age(connection, now) == 0.0
    row_id = put(connection, now)
    put(connection, now + timedelta(seconds=30))

    assert outbox.oldest_pending_age(connection, now + timedelta(seconds=60)) == 60.0
    assert outbox.oldest_pending_age(connection, now - timedelta(seconds=60)) == 0.0  # clocks differ
    must_claim(connection, row_id, now)
    assert outbox.oldest_pending_age(connection, now + timedelta(seconds=60)) == 60.0
    outbox.finish(connection, row_id, now)
    assert outbox.oldest_pending_age(connection, now + timedelta(seconds=60)) == 30.0


def test_done_rows_are_forgotten_after_a_day_in_chunks_and_dead_letters_are_kept(connection, now) -> None:
    for _ in range(3):
        row_id = put(connection, now)
        must_claim(connection, row_id, now)
        outbox.finish(connection, row_id, now)
    bury(connection, now)
    later = now + KEEP_DONE + timedelta(seconds=1)

    assert outbox.forget_done(connection, now + KEEP_DONE) == 0
    assert [outbox.forget_done(connection, later, limit=2) for _ in range(3)] == [2, 1, 0]
    assert connection.execute(select(func.count()).select_from(outbox.outbox)).scalar_one() == 1


def test_the_database_refuses_a_state_that_does_not_exist(connection, now) -> None:
    put(connection, now)

    with pytest.raises(exc.IntegrityError):
        connection.execute(update(outbox.outbox).values(state="lost"))
