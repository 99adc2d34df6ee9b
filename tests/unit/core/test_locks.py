"""Leases."""

import threading

import pytest

from shared.core import locks
from shared.core.ids import new_id
from shared.runtime import Runtime
from tests.fakes.clock import FakeClock


def take(runtime: Runtime, name: str, seconds: float = 10) -> bool:
    with runtime.transaction() as tx:
        return locks.take(tx, name, seconds)


def test_a_lease_has_one_holder_until_it_is_over(timed: Runtime, clock: FakeClock):
    name = new_id()
    assert take(timed, name)
    assert not take(timed, name)
    clock.pass_(seconds=9.9)
    assert not take(timed, name)
    clock.pass_(seconds=0.1)
    assert take(timed, name)
    assert not take(timed, name)


def test_leases_of_different_names_do_not_meet(timed: Runtime):
    assert take(timed, new_id())
    assert take(timed, new_id())


def test_a_lease_that_was_not_committed_was_not_taken(timed: Runtime):
    name = new_id()

    def break_off() -> None:
        with timed.transaction() as tx:
            assert locks.take(tx, name, 10)
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert take(timed, name)


def test_of_many_at_once_one_gets_the_lease(timed: Runtime):
    name = new_id()
    got: list[bool] = []
    threads = [threading.Thread(target=lambda: got.append(take(timed, name))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 5 + [True]
