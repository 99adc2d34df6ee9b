"""The list of participants, and one's own flags."""

import json
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.scene import change_place, co_host
from tests.factories.world import Person, World

FIELDS = {
    "participant_id",
    "user_id",
    "user_name",
    "role",
    "status",
    "is_muted",
    "is_video_enabled",
    "is_screen_sharing",
    "is_hand_raised",
    "hand_raised_at",
    "can_publish",
    "can_chat",
    "joined_at",
    "left_at",
    "device_type",
    "breakout_room_id",
}


def every_state(world: World) -> tuple[str, Person, Person, dict[str, str]]:
    """Return a meeting, its host and an attendee inside, and somebody's participant id for each state."""
    host, ada, invited = world.person(), world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    world.inside(meeting_id, host)
    ids = {"joined": world.inside(meeting_id, ada)[0]["participant_id"]}
    for status in ("left", "waiting", "removed", "denied"):
        person = world.person()
        ids[status] = world.inside(meeting_id, person)[0]["participant_id"]
        person.post(f"/meetings/{meeting_id}/leave")
        change_place(world.runtime, ids[status], status=status)
    listed = host.get(f"/meetings/{meeting_id}/participants?status=invited").data
    ids["invited"] = listed[0]["participant_id"]
    return meeting_id, host, ada, ids


def test_attendees_see_who_is_or_was_inside_and_hosts_see_every_state(world: World) -> None:
    meeting_id, host, ada, ids = every_state(world)

    def seen(person: Person, query: str = "") -> set[str]:
        listed = person.get(f"/meetings/{meeting_id}/participants{query}").data
        return {p["participant_id"] for p in listed if p["role"] == "attendee"}

    assert seen(host) == set(ids.values())
    assert seen(ada) == {ids["joined"], ids["left"]}
    for status, participant_id in ids.items():
        assert seen(host, f"?status={status}") == {participant_id}
        assert seen(ada, f"?status={status}") == ({participant_id} & {ids["joined"], ids["left"]})
    assert seen(host, "?status=waiting,denied") == {ids["waiting"], ids["denied"]}
    assert seen(ada, "?status=waiting,left") == {ids["left"]}
    second = co_host(world, meeting_id)
    assert seen(second) == set(ids.values())


def test_s23_a_participant_is_shown_without_address_or_e_mail(world: World) -> None:
    meeting_id, host, ada, _ = every_state(world)
    for person in (host, ada):
        for path in ("/participants", "/snapshot", "/events"):
            body = json.dumps(person.get(f"/meetings/{meeting_id}{path}").body)
            assert "@example.com" not in body
            assert "127.0.0.1" not in body.replace(f"/join/{meeting_id}", "").replace("http://127.0.0.1:8000", "")
        for shown in person.get(f"/meetings/{meeting_id}/participants").data:
            assert set(shown) == FIELDS


def test_the_list_is_read_in_pages_without_loss_or_repetition(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    seats = world.inside(meeting_id, host, *(world.person() for _ in range(6)))
    path = f"/meetings/{meeting_id}/participants?limit=3"
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = host.get(f"{path}&cursor={cursor}" if cursor else path)
        assert page.body["pagination"]["limit"] == 3
        assert len(page.data) <= 3
        found += [p["participant_id"] for p in page.data]
        cursor = page.body["pagination"]["next_cursor"]
    assert sorted(found) == sorted(seat["participant_id"] for seat in seats)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=nonsense", "status"),
        ("status=joined,nonsense", "status"),
        ("status=", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=!!", "cursor"),
        ("user_id=x", "user_id"),
    ],
)
def test_a_question_that_makes_no_sense_is_422(world: World, query: str, field: str) -> None:
    host = world.person()
    answer = host.get(f"/meetings/{world.meeting(host)}/participants?{query}")
    assert (answer.status, list(answer.body["details"])) == (422, [field])


def test_who_is_no_member_sees_nobody_and_who_was_invited_has_to_join_first(world: World) -> None:
    host, invited = world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    for person, status, code in (
        (world.person(), 404, "MEETING_NOT_FOUND"),
        (world.nobody(), 401, "UNAUTHENTICATED"),
        (invited, 403, "INSUFFICIENT_PERMISSION"),
    ):
        answer = person.get(f"/meetings/{meeting_id}/participants")
        assert (answer.status, answer.code) == (status, code)
    unknown = world.person().get(f"/meetings/{new_id()}/participants")
    theirs = world.person().get(f"/meetings/{meeting_id}/participants")
    assert (unknown.code, unknown.body["message"]) == (theirs.code, theirs.body["message"])
    world.inside(meeting_id, invited)
    assert len(invited.get(f"/meetings/{meeting_id}/participants").data) == 1


# --- one's own flags


@pytest.mark.parametrize(
    ("flags", "types"),
    [
        ({"is_muted": True}, ["participant_update"]),
        ({"is_video_enabled": False}, ["participant_update"]),
        ({"is_screen_sharing": True}, ["participant_update", "screen_share"]),
        ({"is_hand_raised": True}, ["participant_update", "hand_raise"]),
        ({"is_muted": True, "is_video_enabled": False}, ["participant_update"]),
    ],
)
def test_ones_flags_are_set_and_told_to_all(world: World, flags: dict[str, bool], types: list[str]) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    seen = len(host.get(f"/meetings/{meeting_id}/events").data)
    answer = ada.put(f"/meetings/{meeting_id}/participants/status", flags)
    assert answer.status == 200
    assert {name: answer.data[name] for name in flags} == flags
    (shown,) = (p for p in host.get(f"/meetings/{meeting_id}/participants").data if p["user_id"] == ada.id)
    assert shown == answer.data
    told = host.get(f"/meetings/{meeting_id}/events?after_seq={seen}").data
    assert [event["type"] for event in told] == types
    assert {name: told[0]["data"][name] for name in flags} == flags


@pytest.mark.parametrize(
    ("rules", "as_co_host", "flags", "code"),
    [
        ({"screen_share_permissions": "host"}, False, {"is_screen_sharing": True}, "SCREEN_SHARE_DISABLED"),
        ({"screen_share_permissions": "host"}, True, {"is_screen_sharing": True}, None),
        ({"screen_share_permissions": "none"}, True, {"is_screen_sharing": True}, "SCREEN_SHARE_DISABLED"),
        ({"screen_share_permissions": "none"}, False, {"is_screen_sharing": False}, None),
        ({"enable_hand_raise": False}, False, {"is_hand_raised": True}, "HAND_RAISE_DISABLED"),
        ({"enable_hand_raise": False}, True, {"is_hand_raised": True}, "HAND_RAISE_DISABLED"),
        ({"enable_hand_raise": False}, False, {"is_hand_raised": False}, None),
    ],
)
def test_a_flag_that_the_policy_forbids_is_refused_and_nobody_hears_of_it(
    world: World, rules: dict[str, Any], as_co_host: bool, flags: dict[str, bool], code: str | None
) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=rules)
    person = co_host(world, meeting_id) if as_co_host else world.person()
    world.inside(meeting_id, host, person)
    before = [host.get(f"/meetings/{meeting_id}{path}").data for path in ("/participants", "/events")]
    answer = person.put(f"/meetings/{meeting_id}/participants/status", {**flags, "is_muted": True})
    after = [host.get(f"/meetings/{meeting_id}{path}").data for path in ("/participants", "/events")]
    if code is None:
        assert answer.status == 200
        assert after != before
    else:
        assert (answer.status, answer.code) == (403, code)
        assert after == before


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"is_muted": 1},
        {"is_muted": "true"},
        {"is_muted": None},
        {"role": "host"},
        {"user_id": "x"},
        {"can_chat": True},
    ],
)
def test_flags_that_are_none_are_422(world: World, flags: dict[str, Any]) -> None:
    ada = world.person()
    meeting_id = world.meeting(world.person())
    world.inside(meeting_id, ada)
    before = ada.get(f"/meetings/{meeting_id}/participants").data
    answer = ada.put(f"/meetings/{meeting_id}/participants/status", flags)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert ada.get(f"/meetings/{meeting_id}/participants").data == before


def test_only_who_is_inside_has_flags(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    path = f"/meetings/{meeting_id}/participants/status"
    for person, status in ((ada, 403), (host, 403), (world.person(), 404), (world.nobody(), 401)):
        assert person.put(path, {"is_muted": True}).status == status
    host.post(f"/meetings/{meeting_id}/end")
    assert host.put(path, {"is_muted": True}).code == "MEETING_ENDED"
