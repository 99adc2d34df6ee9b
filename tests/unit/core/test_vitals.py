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
