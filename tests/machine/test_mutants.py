"""What the machine proves: of bugs that are planted one by one, it finds nearly all."""

import time
from typing import NamedTuple

import pytest

from dev.permissions import ASKERS, outcome
from tests.factories.house import OF_MEETINGS, furnish, name_of
from tests.factories.world import World
from tests.machine.cast import Cast
from tests.machine.machine import walk
from tests.machine.mutants import MUTANTS

MAY_BE_MISSED = 2
WALKS, STEPS = 30, 20


class Found(NamedTuple):
    """By what a bug was found, if it was, in which time, and how it showed."""

    by: str
    seconds: float
    sign: str


def look_for_bugs(cast: Cast) -> Found:
    """Walk until something is wrong; when nothing is, ask every door as everybody."""
    began = time.monotonic()
    by, sign = "", ""
    try:
        for seed in range(WALKS):
            walk(cast, seed, STEPS)
    except AssertionError as wrong:
        by, sign = "machine", str(wrong)
    if not by:
        try:
            check_matrix(cast.world)
        except AssertionError as wrong:
            by, sign = "matrix", str(wrong)
    return Found(by, time.monotonic() - began, " ".join(sign.split())[:100])


def check_matrix(world: World) -> None:
    """Check that whoever the table of permissions refuses is refused, as the table says."""
    house = furnish(world)
    for door in OF_MEETINGS:
        for who in ASKERS:
            wanted = outcome(door.permission, door.who, who)
            if wanted != "yes":
                assert str(house.ask(door, who).status) == wanted, f"{name_of(door)} as {who}"


@pytest.mark.once  # the bugs are planted in Python, and mean the same on both databases
@pytest.mark.timeout(600)
@pytest.mark.no_cover  # which costs more than the walks
def test_bugs_that_are_planted_are_found(world: World) -> None:
    cast = Cast(world)
    unharmed = look_for_bugs(cast)
    assert not unharmed.by, unharmed
    found = {}
    for what, plant in MUTANTS.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            found[what] = look_for_bugs(cast)
    print(f"\n{unharmed.seconds:5.1f} s  nothing is planted, nothing is found")
    for what, one in found.items():
        print(f"{one.seconds:5.1f} s  {one.by or 'MISSED':8} {what}\n{'':18}{one.sign}")
    missed = [what for what, one in found.items() if not one.by]
    assert len(missed) <= MAY_BE_MISSED, missed
