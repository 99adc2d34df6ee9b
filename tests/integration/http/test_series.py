"""A ban holds over a series of meetings (S41): at every door, whenever the meeting was made, and only there."""

import pytest

from shared.core.ids import new_id
from tests.factories.scene import change_place
from tests.factories.world import Person, World
from tests.integration.http.answers import check_failure, check_success, without_what_differs


@pytest.fixture
def rude(world: World) -> Person:
    """Somebody who will be banned."""
    return world.person("Rude")


def put_out(host: Person, meeting_id: str, person: Person, *, ban: bool = True) -> None:
    """Put out somebody who is in the meeting."""
    people = host.get(f"/meetings/{meeting_id}/participants?limit=200").data
    [seat] = [p["participant_id"] for p in people if p["user_id"] == person.id]
    assert host.post(f"/meetings/{meeting_id}/participants/{seat}/remove", {"ban": ban}).status == 200


def check_shut_out(person: Person, meeting_id: str) -> None:
    """Check that no door of a running meeting opens."""
    check_failure(person.post(f"/meetings/{meeting_id}/join"), 403, "USER_BLOCKED")
    for method, path in (("POST", "/ws-ticket"), ("POST", "/token"), ("GET", ""), ("GET", "/participants")):
        check_failure(person.call(method, f"/meetings/{meeting_id}{path}"), 404, "MEETING_NOT_FOUND")
    assert meeting_id not in [m["meeting_id"] for m in person.get("/meetings").data]


def test_s41_who_is_banned_from_a_meeting_is_banned_from_those_that_follow(
    world: World, host: Person, rude: Person
) -> None:
    first = world.meeting(host)
    world.inside(first, host, rude)
    put_out(host, first, rude)
    host.post(f"/meetings/{first}/end")
    second = world.meeting(host, series_of=first, invitees=[rude.email])
    third = world.meeting(host, series_of=second)
    for meeting_id in (second, third):
        check_shut_out(rude, meeting_id)
        assert world.person().post(f"/meetings/{meeting_id}/join").status == 200
        assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 1
    assert rude.post(f"/meetings/{world.meeting(host)}/join").status == 200


def test_s41_a_ban_reaches_meetings_that_were_made_before_it(world: World, host: Person, rude: Person) -> None:
    first = world.meeting(host)
    running, planned = world.meeting(host, series_of=first), world.meeting(host, start=False, series_of=first)
    other = world.person("Polite")
    for meeting_id in (first, running):
        world.inside(meeting_id, host, rude, other)
    put_out(host, first, rude)
    host.post(f"/meetings/{planned}/start")
    for meeting_id in (first, running, planned):
        check_shut_out(rude, meeting_id)
        assert other.post(f"/meetings/{meeting_id}/join").status == 200
    told = [(e["type"], e["data"].get("reason")) for e in other.get(f"/meetings/{running}/events").data]
    assert told[-1] == ("leave", "banned")
    assert host.get(f"/meetings/{running}/status").data["active_participants"] == 2


def test_a_removal_without_a_ban_is_for_one_meeting(world: World, host: Person, rude: Person) -> None:
    first = world.meeting(host)
    second = world.meeting(host, series_of=first)
    world.inside(first, host, rude)
    put_out(host, first, rude, ban=False)
    assert rude.post(f"/meetings/{second}/join").status == 200
    assert rude.post(f"/meetings/{first}/join").status == 200


def test_a_ban_does_not_put_a_host_out_of_a_meeting_of_the_series(world: World, host: Person, rude: Person) -> None:
    first = world.meeting(host)
    second = world.meeting(host, series_of=first)
    world.inside(first, host, rude)
    [seat] = world.inside(second, rude)
    change_place(world.runtime, seat["participant_id"], role="host")
    put_out(host, first, rude)
    check_failure(rude.post(f"/meetings/{first}/join"), 403, "USER_BLOCKED")
    assert rude.get(f"/meetings/{second}").status == 200


def test_a_ban_leaves_a_co_host_of_another_meeting_to_those_who_host_that(
    world: World, host: Person, rude: Person
) -> None:
    first = world.meeting(host)
    second = world.meeting(host, series_of=first)
    world.inside(first, host, rude)
    [seat] = world.inside(second, rude)
    change_place(world.runtime, seat["participant_id"], role="co-host")
    put_out(host, first, rude)
    assert rude.get(f"/meetings/{second}").status == 200


def test_s17_who_was_made_a_host_of_one_meeting_has_no_say_in_those_that_follow(world: World, host: Person) -> None:
    first, second_host = world.meeting(host), world.person()
    [seat] = world.inside(first, second_host)
    change_place(world.runtime, seat["participant_id"], role="host")
    refused = second_host.post("/meetings", {"title": "Mine", "series_of": first})
    check_failure(refused, 403, "INSUFFICIENT_PERMISSION")
    assert refused.body["details"]["rule"] == "series_of"
    assert [m["meeting_id"] for m in second_host.get("/meetings").data] == [first]


def test_s17_a_series_is_continued_only_by_who_hosts_it(world: World, host: Person) -> None:
    first, attendee, stranger = world.meeting(host), world.person(), world.person()
    world.inside(first, attendee)
    foreign, unknown, malformed = (
        stranger.post("/meetings", {"title": "Mine", "series_of": which}) for which in (first, new_id(), "x")
    )
    check_failure(foreign, 404, "MEETING_NOT_FOUND")
    assert without_what_differs(foreign) == without_what_differs(unknown) == without_what_differs(malformed)
    refused = attendee.post("/meetings", {"title": "Mine", "series_of": first})
    check_failure(refused, 403, "INSUFFICIENT_PERMISSION")
    assert stranger.get("/meetings").data == []
    check_success(host.post("/meetings", {"title": "Mine", "series_of": first}), 201)


def test_a_series_is_told_to_nobody(world: World, host: Person) -> None:
    first = world.meeting(host)
    body = host.post("/meetings", {"title": "Second", "series_of": first}).body
    assert first not in str(body)
    assert "series_id" not in str(body)
