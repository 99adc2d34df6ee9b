"""Signs of life, on the real database."""

from datetime import timedelta

import pytest

from shared.core import vitals
from shared.core.ids import new_id
from shared.runtime import Runtime
from tests.fakes.clock import FakeClock


@pytest.fixture
def name() -> str:
    return f"worker {new_id()}"


def alive(timed: Runtime, name: str) -> bool:
    with timed.reading() as tx:
        return vitals.is_alive(tx.connection, name, tx.now)


def sign(timed: Runtime, name: str) -> None:
    with timed.transaction() as tx:
        vitals.sign(tx.connection, name, tx.now)


def test_who_never_signed_is_not_alive(timed, name) -> None:
    assert not alive(timed, name)


def test_a_sign_of_life_holds_for_twenty_seconds(timed: Runtime, clock: FakeClock, name: str) -> None:
    sign(timed, name)

    assert alive(timed, name)
    clock.pass_(seconds=20)
    assert alive(timed, name)
    clock.pass_(milliseconds=1)
    assert not alive(timed, name)


def test_signing_again_renews_it(timed: Runtime, clock: FakeClock, name: str) -> None:
    sign(timed, name)
    clock.pass_(hours=1)
    sign(timed, name)

    assert alive(timed, name)


def test_names_are_apart(timed, name) -> None:
    sign(timed, name)

    assert not alive(timed, f"{name}!")


def test_a_sign_from_a_clock_that_is_ahead_counts(timed: Runtime, clock: FakeClock, name: str) -> None:
    sign(timed, name)
    clock.pass_(seconds=-30)

    assert alive(timed, name)
    assert timedelta(seconds=20) == vitals.FRESH


class _Undo(Exception):
    """What was signed is not meant."""


@pytest.mark.parametrize(
    ("task", "process", "there"),
    [
        (19, 3.9, True),  # a lane in which tasks wait for each other
        (0, 4.1, False),  # gone a moment ago
        (20.1, 0, False),  # there, and nothing gets done
        (0, None, True),  # of an older release
        (None, 0, False),
    ],
)
def test_a_worker_is_there_when_its_process_is_and_work_gets_done(
    timed: Runtime, task: float | None, process: float | None, there: bool
) -> None:
    found: list[bool] = []

    def look() -> None:
        with timed.transaction() as tx:  # undone at the end: the workers of other tests sign under these names, too
            tx.execute(vitals.vitals.delete().where(vitals.vitals.c.name.in_((vitals.WORKER, vitals.WORKER_PROCESS))))
            for name, age in ((vitals.WORKER, task), (vitals.WORKER_PROCESS, process)):
                if age is not None:
                    vitals.sign(tx.connection, name, tx.now - timedelta(seconds=age))
            found.append(vitals.has_worker(tx.connection, tx.now))
            raise _Undo

    with pytest.raises(_Undo):
        look()
    assert found == [there]
