"""The relay and the sign of life."""

from datetime import timedelta

import pytest

from shared.core import outbox
from shared.core.outbox import FIRST_RELAY_SECONDS
from shared.core.vitals import WORKER, is_alive
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from workers.outbox import relay, sign_of_life


@pytest.fixture
def row_id(bench: Runtime) -> str:
    """A job that was decided and whose message has got lost."""
    with bench.transaction() as tx:
        tx.execute(outbox.outbox.delete())
        tx.enqueue(DeleteRoom(room="r"))
    return tx.errands[0].id


def test_the_relay_sends_what_the_direct_road_has_lost(
    bench: Runtime, clock: FakeClock, queue: FakeQueue, row_id: str
) -> None:
    assert relay(bench) == 0
    clock.pass_(seconds=FIRST_RELAY_SECONDS)

    assert relay(bench) == 1
    assert [(errand.id, errand.lane) for errand in queue.sent] == [(row_id, "media")]
    assert relay(bench) == 0


def test_a_relay_that_finds_the_road_closed_sends_again_when_it_is_open(
    bench: Runtime, clock: FakeClock, queue: FakeQueue, row_id: str
) -> None:
    clock.pass_(seconds=FIRST_RELAY_SECONDS)
    queue.healthy = False
    with pytest.raises(ConnectionError):
        relay(bench)
    queue.healthy = True
    clock.pass_(seconds=15)

    assert relay(bench) == 1
    assert [errand.id for errand in queue.sent] == [row_id]


def test_when_the_broker_lost_everything_the_relay_sends_all_that_waits_and_leaves_a_mark(
    bench: Runtime, clock: FakeClock, queue: FakeQueue, row_id: str
) -> None:
    assert relay(bench) == 0  # the direct road has its time
    queue.mark = False

    assert relay(bench) == 1
    assert [errand.id for errand in queue.sent] == [row_id]
    assert queue.mark
    assert relay(bench) == 0


def test_however_much_waits_it_is_sent_again_at_once(bench: Runtime, queue: FakeQueue, row_id: str) -> None:
    with bench.transaction() as tx:
        for number in range(450):
            tx.enqueue(DeleteRoom(room=f"r{number}"))
    waiting = {row_id, *(errand.id for errand in tx.errands)}
    queue.mark = False

    assert relay(bench) == len(waiting) == 451
    assert {errand.id for errand in queue.sent} == waiting


def test_the_mark_is_left_when_all_was_sent_and_not_before(
    bench: Runtime, queue: FakeQueue, row_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise ConnectionError("the broker does not answer")

    queue.mark = False
    monkeypatch.setattr(queue, "send", away)
    with pytest.raises(ConnectionError):
        relay(bench)
    assert not queue.mark


def test_two_relays_at_once_send_a_row_once(bench: Runtime, clock: FakeClock, queue: FakeQueue, row_id: str) -> None:
    now = clock.pass_(seconds=FIRST_RELAY_SECONDS)
    if bench.database.is_sqlite:  # one writer at a time: the second one comes after the commit of the first
        assert (relay(bench), relay(bench)) == (1, 0)
        return
    with bench.transaction() as first:
        assert len(outbox.due(first.connection, now)) == 1
        with bench.transaction() as second:
            assert outbox.due(second.connection, now + timedelta(days=1)) == []


def test_the_sign_of_life_is_what_readiness_looks_at(bench: Runtime, clock: FakeClock) -> None:
    clock.pass_(hours=1)
    with bench.reading() as tx:
        assert not is_alive(tx.connection, WORKER, tx.now)

    assert sign_of_life(bench) == 0

    with bench.reading() as tx:
        assert is_alive(tx.connection, WORKER, tx.now)
