"""POST leave: out of the meeting or its waiting room, and how long it all was."""

import time

from shared.core.ids import new_id
from tests.factories.world import World


def test_leaving_is_told_to_all_and_frees_the_place(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    _, seat = world.inside(meeting_id, host, ada)
    answer = ada.post(f"/meetings/{meeting_id}/leave")
    assert answer.status == 200
    assert set(answer.data) == {"meeting_id", "left_at", "duration_minutes"}
    (shown,) = host.get(f"/meetings/{meeting_id}/participants?status=left").data
    assert (shown["participant_id"], shown["left_at"]) == (seat["participant_id"], answer.data["left_at"])
    told = host.get(f"/meetings/{meeting_id}/events").data[-1]
    assert (told["type"], told["user_id"], told["data"]["reason"]) == ("leave", ada.id, "left")
    assert told["data"]["left_at"] == answer.data["left_at"]


def test_the_duration_is_a_decimal_number_that_sums_every_stay(world: World) -> None:
    ada = world.person()
    meeting_id = world.meeting(world.person())
    lengths = []
    for _ in range(2):
        world.inside(meeting_id, ada)
        began = time.monotonic()
        time.sleep(0.12)
        answer = ada.post(f"/meetings/{meeting_id}/leave").data
        lengths.append(time.monotonic() - began)
        assert 0 < answer["duration_minutes"] <= sum(lengths) / 60 + 0.001
    assert answer["duration_minutes"] >= 0.004
    assert isinstance(answer["duration_minutes"], float)


def test_leaving_twice_is_leaving_once(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    first = ada.post(f"/meetings/{meeting_id}/leave")
    again = ada.post(f"/meetings/{meeting_id}/leave")
    assert (again.status, again.data) == (200, first.data)
    types = [event["type"] for event in host.get(f"/meetings/{meeting_id}/events").data]
    assert types.count("leave") == 1


def test_the_host_may_leave_and_the_meeting_goes_on(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    host.post(f"/meetings/{meeting_id}/leave")
    assert ada.get(f"/meetings/{meeting_id}/status").data["is_active"] is True
    assert world.inside(meeting_id, host)[0]["role"] == "host"


def test_who_never_came_in_cannot_leave(world: World) -> None:
    host, invited, stranger = world.person(), world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    before = host.get(f"/meetings/{meeting_id}/events").data
    for person, code in (
        (stranger, "MEETING_NOT_FOUND"),
        (invited, "PARTICIPANT_NOT_FOUND"),
        (host, "PARTICIPANT_NOT_FOUND"),
    ):
        answer = person.post(f"/meetings/{meeting_id}/leave")
        assert (answer.status, answer.code) == (404, code)
    assert host.post(f"/meetings/{new_id()}/leave").code == "MEETING_NOT_FOUND"
    assert world.nobody().post(f"/meetings/{meeting_id}/leave").status == 401
    assert host.get(f"/meetings/{meeting_id}/events").data == before


def test_a_meeting_that_is_over_was_left_by_all_and_cannot_be_left_again(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    ended = host.post(f"/meetings/{meeting_id}/end").data
    for person in (host, ada):
        answer = person.post(f"/meetings/{meeting_id}/leave")
        assert (answer.status, answer.code) == (410, "MEETING_ENDED")
    left = ada.get(f"/meetings/{meeting_id}/participants?status=left").data
    assert {person["left_at"] for person in left} == {ended["ended_at"]}
    assert len(left) == 2
