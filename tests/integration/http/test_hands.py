"""Raised hands: one order for all, that of the server."""

import pytest

from tests.factories.world import Person, World


def raise_hand(person: Person, meeting_id: str, up: bool = True) -> None:
    assert person.put(f"/meetings/{meeting_id}/participants/status", {"is_hand_raised": up}).status == 200


def names(person: Person, meeting_id: str) -> list[str]:
    return [hand["user_name"] for hand in person.get(f"/meetings/{meeting_id}/hands").data]


def test_hands_stand_in_the_order_they_went_up_for_everybody(world: World) -> None:
    host = world.person("Host")
    people = [world.person(name) for name in ("A", "B", "C", "D")]
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, *people)
    for index in (2, 0, 3):
        raise_hand(people[index], meeting_id)
    for reader in (host, *people):
        assert names(reader, meeting_id) == ["C", "A", "D"]
    raise_hand(people[2], meeting_id)  # it is up already, and keeps its turn
    assert names(host, meeting_id) == ["C", "A", "D"]
    raise_hand(people[2], meeting_id, False)
    raise_hand(people[2], meeting_id)
    assert names(host, meeting_id) == ["A", "D", "C"]
    times = [hand["hand_raised_at"] for hand in host.get(f"/meetings/{meeting_id}/hands").data]
    assert times == sorted(times)


def test_who_goes_out_takes_the_hand_down(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    raise_hand(ada, meeting_id)
    ada.post(f"/meetings/{meeting_id}/leave")
    assert names(host, meeting_id) == []
    world.inside(meeting_id, ada)
    assert names(host, meeting_id) == []


@pytest.mark.parametrize(("who", "status"), [("stranger", 404), ("invited", 403), ("nobody", 401)])
def test_hands_are_shown_to_who_is_or_was_inside(world: World, who: str, status: int) -> None:
    host, invited, ada = world.person(), world.person(), world.person("Ada")
    meeting_id = world.meeting(host, invitees=[invited.email])
    world.inside(meeting_id, ada)
    raise_hand(ada, meeting_id)
    person = {"stranger": world.person(), "invited": invited, "nobody": world.nobody()}[who]
    assert person.get(f"/meetings/{meeting_id}/hands").status == status
    assert names(host, meeting_id) == ["Ada"]
