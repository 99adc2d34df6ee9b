"""The same table before a meeting, when it is over, and when it was cancelled: cell by cell (S27, S52)."""

from collections.abc import Iterator

import pytest

from dev.permissions import operation, outcome_in, states
from shared.meetings.models import CANCELLED, COMPLETED, IN_PROGRESS, SCHEDULED
from tests.factories.house import OF_MEETINGS, House, furnish, plan
from tests.factories.world import Answer, World
from web.http.door import Door

pytestmark = pytest.mark.once  # what is asked here does not depend on the database


def arrange(world: World, state: str) -> House:
    """Return a meeting in a state, with everybody who can have come to be there."""
    house = furnish(world) if state in (IN_PROGRESS, COMPLETED) else plan(world)
    host = house.people["host"]
    if state == COMPLETED:
        assert host.post(f"/meetings/{house.id}/end").status == 200
    if state == CANCELLED:
        assert host.delete(f"/meetings/{house.id}").status == 200
    return house


def told(answer: Answer) -> str:
    """Return an answer as the table says it."""
    if answer.status < 400:
        return "yes"
    return str(answer.status) if answer.code in ("INSUFFICIENT_PERMISSION", "MEETING_NOT_FOUND") else str(answer.code)


def cells(house: House, state: str) -> Iterator[tuple[Door, str, str]]:
    """Yield door, asker, and what the table says."""
    for door in OF_MEETINGS:
        for who in house.people:
            yield door, who, outcome_in(state, door, who)


@pytest.mark.parametrize("state", [SCHEDULED, COMPLETED, CANCELLED])
def test_s27_whoever_is_refused_is_told_so_and_nothing_changes(world: World, state: str) -> None:
    house = arrange(world, state)
    before = house.state()
    found = {
        (operation(door), who): (told(house.ask(door, who)), wanted)
        for door, who, wanted in cells(house, state)
        if wanted != "yes" or door.method == "GET"
    }
    assert {cell: got for cell, got in found.items() if got[0] != got[1]} == {}
    assert house.state() == before
    assert len(found) > 150


OPEN = [
    pytest.param(door, state, id=f"{operation(door)} {state}")
    for door in OF_MEETINGS
    for state in (SCHEDULED, COMPLETED, CANCELLED)
    if door.method != "GET" and state in states(door)
]


@pytest.mark.parametrize(("door", "state"), OPEN)
def test_who_is_allowed_gets_it_done(world: World, door: Door, state: str) -> None:
    allowed = [who for who in plan(world).people if outcome_in(state, door, who) == "yes"]
    assert "host" in allowed
    for who in allowed:
        house = arrange(world, state)
        before = house.state()
        assert house.ask(door, who).status in (200, 201)
        is_a_question = operation(door).endswith(("/simulate", "/validate-access"))
        assert (house.state() == before) is is_a_question
