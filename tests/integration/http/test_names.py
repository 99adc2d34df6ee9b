"""What people are called in a meeting (S45, S46): seen by others, and never what its host is called."""

from typing import Any

import pytest

from tests.factories.scene import co_host
from tests.factories.world import Person, World

OPEN = {"allow_anonymous_join": True}


@pytest.fixture
def meeting_id(world: World, host: Person) -> str:
    """A running meeting with its host inside."""
    made = world.meeting(host, policy=OPEN)
    world.inside(made, host)
    return made


def seen_names(host: Person, meeting_id: str) -> list[str]:
    """Return what the people inside are called, as the host sees it, without the host."""
    others = [p for p in host.get(f"/meetings/{meeting_id}/participants").data if p["user_id"] != host.id]
    return [p["user_name"] for p in others]


def enter(person: Person, meeting_id: str, name: str | None = None) -> dict[str, Any]:
    data: dict[str, Any] = person.post(f"/meetings/{meeting_id}/join", {"display_name": name}).data
    return data


@pytest.mark.parametrize(
    ("wished", "shown"),
    [
        ("Zoe\u0308", "Zoë"),
        ("\u202eadA\u202c", "adA"),
        ("A\u200bd\u2066a\u2069", "Ada"),
        ("Ada\r\nLovelace\x07", "Ada Lovelace"),
        ("<b>Ada</b>", "<b>Ada</b>"),
        ("Ada \U0001f469\u200d\U0001f52c", "Ada \U0001f469\u200d\U0001f52c"),
    ],
)
def test_s46_a_guest_is_shown_without_what_could_deceive(
    world: World, host: Person, meeting_id: str, wished: str, shown: str
) -> None:
    assert enter(world.nobody(), meeting_id, wished)["user_name"] == shown
    assert seen_names(host, meeting_id) == [shown]
    told = host.get(f"/meetings/{meeting_id}/events").data[-1]
    assert (told["type"], told["data"]["user_name"]) == ("join", shown)


@pytest.mark.parametrize("name", ["x" * 101, "x" * 10_000])
def test_s46_a_name_of_more_than_a_hundred_characters_is_refused(
    world: World, host: Person, meeting_id: str, name: str
) -> None:
    answer = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": name})
    assert (answer.status, list(answer.body["details"])) == (422, ["display_name"])
    assert seen_names(host, meeting_id) == []
    assert enter(world.nobody(), meeting_id, "x" * 100)["user_name"] == "x" * 100


HOSTLIKE = ["Hedy Host", "HEDY HOST", "hedy\u00a0host", "Hedy\u200bHost", "\uff28edy  Host", "Host", "co-HOST"]


@pytest.mark.parametrize("name", HOSTLIKE)
def test_s46_a_guest_who_takes_the_hosts_name_is_marked(world: World, host: Person, meeting_id: str, name: str) -> None:
    shown = enter(world.nobody(), meeting_id, name)["user_name"]
    assert shown.endswith(" (guest)")
    assert seen_names(host, meeting_id) == [shown]
    assert enter(world.nobody(), meeting_id, "Hedy Hostess")["user_name"] == "Hedy Hostess"


def test_s46_the_name_of_a_co_host_is_taken_too(world: World, host: Person, meeting_id: str) -> None:
    co_host(world, meeting_id, "Corin Deputy")
    assert enter(world.nobody(), meeting_id, "corin deputy")["user_name"] == "corin deputy (guest)"
    other = world.meeting(host, policy=OPEN)
    assert enter(world.nobody(), other, "corin deputy")["user_name"] == "corin deputy"


def test_s46_a_guest_cannot_take_the_name_by_joining_again(world: World, host: Person, meeting_id: str) -> None:
    seat = enter(world.nobody(), meeting_id, "Gusta")
    guest = world.guest(seat["guest_token"])
    guest.post(f"/meetings/{meeting_id}/leave")
    assert enter(guest, meeting_id, "Hedy Host")["user_name"] == "Hedy Host (guest)"
    assert seen_names(host, meeting_id) == ["Hedy Host (guest)"]


def test_s46_somebody_in_the_waiting_room_cannot_take_the_name(world: World, host: Person) -> None:
    meeting_id = world.meeting(host, policy={**OPEN, "require_waiting_room": True})
    assert world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Hedy Host"}).status == 202
    [waiter] = host.get(f"/meetings/{meeting_id}/waiting-room").data
    assert waiter["user_name"] == "Hedy Host (guest)"


def test_s46_an_account_may_have_the_hosts_name_but_not_choose_it(world: World, host: Person, meeting_id: str) -> None:
    namesake, impostor = world.person("Hedy Host"), world.person("Ivo")
    assert enter(namesake, meeting_id)["user_name"] == "Hedy Host"
    assert enter(impostor, meeting_id, "Hedy Host")["user_name"] == "Hedy Host (attendee)"
    assert enter(world.person("Ada"), meeting_id, "Ada L.")["user_name"] == "Ada L."
    host.post(f"/meetings/{meeting_id}/leave")
    assert enter(host, meeting_id, "Hedy Host")["user_name"] == "Hedy Host"
