"""Presence in the database: a connection counts as long as its process's lease does."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from shared.core.ids import new_id
from shared.realtime import presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from tests.factories.sockets import count_of
from tests.fakes.clock import FakeClock

LEASE = timedelta(seconds=presence.LEASE_SECONDS)


class Process:
    """A process that holds connections."""

    def __init__(self, runtime: Runtime) -> None:
        self.id = new_id()
        self._runtime = runtime
        with runtime.transaction() as tx:
            presence.register(tx.connection, self.id, "web", tx.now)

    def holds(self, participant_id: str, count: int = 1) -> list[str]:
        """Open connections of somebody; return their ids."""
        ids = [new_id() for _ in range(count)]
        with self._runtime.transaction() as tx:
            presence.opened(tx.connection, self.id, [Socket(id_, "M", participant_id) for id_ in ids], tx.now)
        return ids


def dead(runtime: Runtime) -> dict[str, object]:
    """Return the dead processes, and since when they are missed."""
    with runtime.transaction() as tx:
        return dict(presence.dead_processes(tx.connection, tx.now, 10_000))


def test_connections_count_while_the_lease_is_renewed_and_no_longer(timed: Runtime, clock: FakeClock) -> None:
    process, person = Process(timed), new_id()
    process.holds(person, 2)
    clock.pass_(seconds=presence.LEASE_SECONDS - 1)
    assert count_of(timed, person) == 2
    with timed.transaction() as tx:
        assert presence.renew(tx.connection, process.id, tx.now)
    clock.pass_(seconds=presence.LEASE_SECONDS - 1)
    assert (count_of(timed, person), process.id in dead(timed)) == (2, False)
    renewed_at = clock.now() - timedelta(seconds=presence.LEASE_SECONDS - 1)
    clock.pass_(seconds=1)
    assert count_of(timed, person) == 0
    assert dead(timed)[process.id] == renewed_at


def test_a_process_that_died_young_is_missed_from_its_start(timed: Runtime, clock: FakeClock) -> None:
    process, started_at = Process(timed), clock.now()
    clock.pass_(seconds=60)
    assert dead(timed)[process.id] == started_at


def test_p11_a_process_that_signed_off_is_missed_from_that_moment_on(timed: Runtime, clock: FakeClock) -> None:
    process, person = Process(timed), new_id()
    process.holds(person)
    signed_off_at = clock.pass_(seconds=4)
    with timed.transaction() as tx:
        presence.resign(tx.connection, process.id, tx.now)
    assert count_of(timed, person) == 0
    clock.pass_(seconds=3)
    assert dead(timed)[process.id] == signed_off_at


def test_closing_tells_whether_it_was_the_last_living_connection(timed: Runtime, clock: FakeClock) -> None:
    gone, person = Process(timed), new_id()
    gone.holds(person)
    clock.pass_(seconds=presence.LEASE_SECONDS)  # its process is dead: that one does not count
    first, last = Process(timed).holds(person, 2)
    with timed.transaction() as tx:
        assert presence.closed(tx.connection, [Socket(first, "M", person)], tx.now) == set()
        assert presence.closed(tx.connection, [Socket(last, "M", person)], tx.now) == {person}
        assert presence.closed(tx.connection, [Socket(last, "M", person)], tx.now) == {person}


def test_entering_a_connection_twice_is_entering_it_once(timed: Runtime) -> None:
    process, person = Process(timed), new_id()
    (id_,) = process.holds(person)
    with timed.transaction() as tx:
        presence.opened(tx.connection, process.id, [Socket(id_, "M", person)], tx.now)
    assert count_of(timed, person) == 1


def test_s48_the_surplus_is_the_oldest_connections_beyond_the_limit(timed: Runtime) -> None:
    person, other = new_id(), new_id()
    ids, others = sorted(Process(timed).holds(person, 7)), sorted(Process(timed).holds(other, 6))
    with timed.reading() as tx:
        assert presence.surplus(tx.connection, [person], 5) == [ids[1], ids[0]]
        assert presence.surplus(tx.connection, [person], 7) == []
        assert set(presence.surplus(tx.connection, [person, other], 5)) == {ids[0], ids[1], others[0]}


def test_a_process_that_was_swept_is_forgotten_with_its_connections_and_must_enter_again(timed: Runtime) -> None:
    process, people = Process(timed), sorted(new_id() for _ in range(2))
    for person in people:
        process.holds(person, 2)
    with timed.transaction() as tx:
        assert sorted(presence.bereaved(tx.connection, process.id)) == people
        presence.forget(tx.connection, process.id)
        assert presence.bereaved(tx.connection, process.id) == []
        assert not presence.renew(tx.connection, process.id, tx.now)
    with pytest.raises(IntegrityError):
        process.holds(people[0])
