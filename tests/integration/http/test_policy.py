"""The policy of a meeting over HTTP: who reads and who changes it, and what a change takes from those inside."""

from typing import Any

import pytest

from shared.policies.models import DEFAULTS
from tests.factories.scene import UNKNOWN, change_place, co_host
from tests.factories.world import Person, World


def policy_of(person: Person, meeting_id: str) -> dict[str, Any]:
    data: dict[str, Any] = person.get(f"/meetings/{meeting_id}/security/policy").data
    return data


def change(person: Person, meeting_id: str, **rules: Any) -> Any:
    return person.patch(f"/meetings/{meeting_id}/security/policy", rules)


def events(person: Person, meeting_id: str, type_: str = "policy") -> list[dict[str, Any]]:
    told = person.get(f"/meetings/{meeting_id}/events?limit=200").data
    return [event["data"] for event in told if event["type"] == type_]


@pytest.fixture
def host(world: World) -> Person:
    return world.person("Hosta")


@pytest.fixture
def guest(world: World) -> Person:
    return world.person("Gusta")


@pytest.fixture
def meeting_id(world: World, host: Person, guest: Person) -> str:
    """A running meeting with both inside."""
    made = world.meeting(host)
    world.inside(made, host, guest)
    return made


def test_a_meeting_has_the_defaults_of_the_contract(host: Person, meeting_id: str) -> None:
    policy = policy_of(host, meeting_id)
    assert {name: policy[name] for name in DEFAULTS} == DEFAULTS
    assert (policy["version"], policy["has_passcode"], policy["meeting_id"]) == (1, False, meeting_id)


def test_a_change_merges_bumps_the_version_and_is_told(host: Person, guest: Person, meeting_id: str) -> None:
    answer = change(host, meeting_id, lock_meeting=True, max_participants=7)
    assert answer.status == 200
    assert (answer.data["lock_meeting"], answer.data["max_participants"], answer.data["version"]) == (True, 7, 2)
    assert change(host, meeting_id, enable_polls=False).data["max_participants"] == 7
    first, second = events(guest, meeting_id)
    assert (first["version"], first["changed"]) == (2, ["lock_meeting", "max_participants"])
    assert (second["version"], second["changed"], second["policy"]["enable_polls"]) == (3, ["enable_polls"], False)
    assert guest.get(f"/meetings/{meeting_id}/snapshot").data["policy"]["version"] == 3
    assert host.get(f"/meetings/{meeting_id}/status").data["is_locked"] is True


def test_a_post_replaces_all_of_it(host: Person, meeting_id: str) -> None:
    change(host, meeting_id, lock_meeting=True, passcode="open sesame", blocked_users=[UNKNOWN])
    answer = host.post(f"/meetings/{meeting_id}/security/policy", {"mute_on_entry": True})
    assert answer.status == 200
    policy = policy_of(host, meeting_id)
    assert {name: policy[name] for name in DEFAULTS} == {**DEFAULTS, "mute_on_entry": True}
    assert (policy["has_passcode"], policy["version"]) == (False, 3)


def test_s36_the_passcode_is_told_to_nobody_and_blocked_users_to_hosts_only(
    host: Person, guest: Person, meeting_id: str
) -> None:
    answer = change(host, meeting_id, require_password=True, passcode="open sesame", blocked_users=[UNKNOWN])
    assert (answer.data["has_passcode"], answer.data["blocked_users"]) == (True, [UNKNOWN])
    texts = [str(answer.body), str(policy_of(host, meeting_id)), str(host.get(f"/meetings/{meeting_id}/events").body)]
    assert not any("sesame" in text or "passcode_hash" in text for text in texts)
    seen = policy_of(guest, meeting_id)
    assert "blocked_users" not in seen
    assert UNKNOWN not in str(seen) + str(events(guest, meeting_id))
    assert events(guest, meeting_id)[0]["changed"] == ["has_passcode", "require_password"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_password_that_is_required_has_to_be_there(host: Person, meeting_id: str, method: str) -> None:
    path = f"/meetings/{meeting_id}/security/policy"
    answer = host.call(method, path, {"require_password": True})
    assert (answer.status, answer.code, list(answer.body["details"])) == (422, "VALIDATION_ERROR", ["passcode"])
    assert host.call(method, path, {"require_password": True, "passcode": "open sesame"}).status == 200
    assert change(host, meeting_id, passcode=None).status == 422
    assert change(host, meeting_id, passcode=None, require_password=False).data["has_passcode"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"max_participants": 0},
        {"max_participants": 10_001},
        {"max_participants": "5"},
        {"chat_permissions": "everybody"},
        {"version": 9},
        {"meeting_id": UNKNOWN},
        {"passcode_hash": "x"},
        {"lock_meeting": "yes"},
        {"allowed_domains": ["no domain"]},
        {"join_approval_mode": "never"},
        {"idle_timeout_minutes": -1},
    ],
)
def test_s31_what_is_no_rule_is_refused_and_changes_nothing(host: Person, meeting_id: str, wrong: Any) -> None:
    answer = host.patch(f"/meetings/{meeting_id}/security/policy", wrong)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert policy_of(host, meeting_id)["version"] == 1


def test_s28_only_the_host_changes_rules(world: World, host: Person, guest: Person, meeting_id: str) -> None:
    deputy = co_host(world, meeting_id)
    for person, status, code in (
        (guest, 403, "INSUFFICIENT_PERMISSION"),
        (deputy, 403, "INSUFFICIENT_PERMISSION"),
        (world.person(), 404, "MEETING_NOT_FOUND"),
    ):
        for method in ("POST", "PATCH"):
            answer = person.call(method, f"/meetings/{meeting_id}/security/policy", {"lock_meeting": True})
            assert (answer.status, answer.code) == (status, code)
    assert world.nobody().get(f"/meetings/{meeting_id}/security/policy").status == 401
    assert world.person().get(f"/meetings/{meeting_id}/security/policy").status == 404
    assert policy_of(host, meeting_id)["version"] == 1


def test_the_rules_of_a_meeting_that_is_over_stay(world: World, host: Person) -> None:
    ended, cancelled, planned = world.meeting(host), world.meeting(host, start=False), world.meeting(host, start=False)
    host.post(f"/meetings/{ended}/end")
    host.delete(f"/meetings/{cancelled}")
    assert change(host, ended, lock_meeting=True).code == "MEETING_ENDED"
    assert change(host, cancelled, lock_meeting=True).code == "INVALID_MEETING_STATE"
    assert change(host, planned, lock_meeting=True).status == 200


def test_a_lock_keeps_the_next_one_out_and_is_explained(world: World, host: Person, meeting_id: str) -> None:
    change(host, meeting_id, lock_meeting=True)
    answer = world.person().post(f"/meetings/{meeting_id}/join")
    assert (answer.status, answer.code) == (403, "MEETING_LOCKED")
    assert answer.body["details"] == {"rule": "lock_meeting", "remedy": "Ask a host to unlock the meeting."}
    change(host, meeting_id, lock_meeting=False)
    assert world.person().post(f"/meetings/{meeting_id}/join").status == 200


def test_who_is_blocked_while_inside_is_out_at_once(host: Person, guest: Person, meeting_id: str) -> None:
    assert change(host, meeting_id, blocked_users=[guest.id, host.id]).status == 200
    assert guest.get(f"/meetings/{meeting_id}").status == 404
    assert guest.post(f"/meetings/{meeting_id}/join").code == "USER_BLOCKED"
    assert [(left["user_id"], left["reason"]) for left in events(host, meeting_id, "leave")] == [(guest.id, "removed")]
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 1


def test_a_screen_that_is_no_longer_allowed_is_taken_down(host: Person, guest: Person, meeting_id: str) -> None:
    for person in (host, guest):
        person.put(f"/meetings/{meeting_id}/participants/status", {"is_screen_sharing": True})
    change(host, meeting_id, screen_share_permissions="host")
    seen = {p["user_id"]: p["is_screen_sharing"] for p in host.get(f"/meetings/{meeting_id}/participants").data}
    assert seen == {host.id: True, guest.id: False}
    told = events(host, meeting_id, "screen_share")
    assert [(one["user_id"], one["is_screen_sharing"]) for one in told[-2:]] == [(guest.id, True), (guest.id, False)]
    change(host, meeting_id, screen_share_permissions="none")
    assert not any(p["is_screen_sharing"] for p in host.get(f"/meetings/{meeting_id}/participants").data)


def test_hands_go_down_when_raising_them_is_switched_off(host: Person, guest: Person, meeting_id: str) -> None:
    guest.put(f"/meetings/{meeting_id}/participants/status", {"is_hand_raised": True})
    change(host, meeting_id, enable_hand_raise=False)
    assert host.get(f"/meetings/{meeting_id}/hands").data == []
    answer = guest.put(f"/meetings/{meeting_id}/participants/status", {"is_hand_raised": True})
    assert (answer.code, answer.body["details"]["rule"]) == ("HAND_RAISE_DISABLED", "enable_hand_raise")


# --- what would a join get?


def foreseen(person: Person, meeting_id: str, **whose: Any) -> dict[str, Any]:
    data: dict[str, Any] = person.post(f"/meetings/{meeting_id}/security/validate-access", whose).data
    return data


FORECASTS: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
    ({}, (True, "join", None, "open")),
    ({"lock_meeting": True}, (False, "deny", "MEETING_LOCKED", "lock_meeting")),
    ({"require_waiting_room": True}, (False, "wait", "WAITING_ROOM_REQUIRED", "require_waiting_room")),
    ({"allowed_domains": ["corp.example"]}, (False, "deny", "DOMAIN_NOT_ALLOWED", "allowed_domains")),
    (
        {"require_password": True, "passcode": "open sesame"},
        (False, "deny", "PASSCODE_REQUIRED", "require_password"),
    ),
]


@pytest.mark.parametrize(("rules", "wanted"), FORECASTS)
def test_a_forecast_is_what_the_join_gets_and_changes_nothing(
    world: World, host: Person, rules: dict[str, Any], wanted: tuple[Any, ...]
) -> None:
    meeting_id = world.meeting(host, policy=rules)
    person = world.person()
    seen = foreseen(host, meeting_id, user_id=person.id)
    assert (seen["allowed"], seen["action"], seen["code"], seen["rule"]) == wanted
    assert (seen["remedy"] is None) == seen["allowed"]
    assert host.get(f"/meetings/{meeting_id}/status").data["waiting_participants"] == 0
    answer = person.post(f"/meetings/{meeting_id}/join")
    assert (answer.status < 202, answer.code) == (seen["allowed"], seen["code"])


def test_a_forecast_counts_seats_and_knows_the_state(world: World, host: Person) -> None:
    full, planned = world.meeting(host, policy={"max_participants": 1}), world.meeting(host, start=False)
    world.inside(full, world.person())
    seen = foreseen(host, full, user_id=world.person().id)
    assert (seen["code"], seen["rule"]) == ("MAX_PARTICIPANTS_REACHED", "max_participants")
    seen = foreseen(host, planned)
    assert (seen["allowed"], seen["code"], seen["rule"]) == (False, "MEETING_NOT_ACTIVE", "status")


def test_one_asks_for_oneself_and_hosts_for_others(world: World, host: Person, guest: Person, meeting_id: str) -> None:
    assert foreseen(guest, meeting_id)["rule"] == "inside"
    path = f"/meetings/{meeting_id}/security/validate-access"
    assert guest.post(path, {"user_id": host.id}).code == "INSUFFICIENT_PERMISSION"
    assert guest.post(path, {"user_id": guest.id}).status == 200
    assert host.post(path, {"user_id": UNKNOWN}).code == "PARTICIPANT_NOT_FOUND"
    assert host.post(path, {"user_id": "nobody"}).code == "PARTICIPANT_NOT_FOUND"
    assert world.person().post(path).code == "MEETING_NOT_FOUND"
    seat = next(p for p in host.get(f"/meetings/{meeting_id}/participants").data if p["user_id"] == guest.id)
    change_place(world.runtime, seat["participant_id"], status="removed", is_banned=True)
    seen = foreseen(host, meeting_id, user_id=guest.id)
    assert (seen["code"], seen["rule"]) == ("USER_BLOCKED", "blocked_users")


# --- cameras


def show(person: Person, meeting_id: str, *, is_on: bool = True) -> Any:
    return person.put(f"/meetings/{meeting_id}/participants/status", {"is_video_enabled": is_on})


def test_cameras_that_are_switched_off_are_off_for_those_inside_but_hosts(
    world: World, host: Person, guest: Person, meeting_id: str
) -> None:
    deputy, hidden = co_host(world, meeting_id), world.person()
    world.inside(meeting_id, deputy, hidden)
    show(hidden, meeting_id, is_on=False)
    before = len(events(host, meeting_id, "participant_update"))
    change(host, meeting_id, disable_camera=True)
    seen = {p["user_id"]: p["is_video_enabled"] for p in guest.get(f"/meetings/{meeting_id}/participants").data}
    assert seen == {host.id: True, deputy.id: True, guest.id: False, hidden.id: False}
    (told,) = events(host, meeting_id, "participant_update")[before:]
    assert (told["user_id"], told["is_video_enabled"]) == (guest.id, False)


def test_while_cameras_are_off_only_hosts_switch_theirs_on(
    world: World, host: Person, guest: Person, meeting_id: str
) -> None:
    change(host, meeting_id, disable_camera=True)
    refused = show(guest, meeting_id)
    assert (refused.status, refused.code) == (403, "INSUFFICIENT_PERMISSION")
    assert (refused.body["details"]["rule"], bool(refused.body["details"]["remedy"])) == ("disable_camera", True)
    assert show(guest, meeting_id, is_on=False).status == 200
    assert show(host, meeting_id).status == 200
    change(host, meeting_id, disable_camera=False)
    assert show(guest, meeting_id).data["is_video_enabled"] is True


def test_a_media_token_has_no_camera_while_cameras_are_off(host: Person, guest: Person, meeting_id: str) -> None:
    def sources(person: Person) -> set[str]:
        return set(person.post(f"/meetings/{meeting_id}/token").data["can_publish_sources"])

    change(host, meeting_id, disable_camera=True)
    assert sources(host) - sources(guest) == {"camera"}
    change(host, meeting_id, disable_camera=False)
    assert "camera" in sources(guest)


def test_who_is_no_co_host_any_more_loses_camera_and_screen_with_it(
    world: World, host: Person, guest: Person, meeting_id: str
) -> None:
    deputy = co_host(world, meeting_id)
    (seat,) = world.inside(meeting_id, deputy)
    change(host, meeting_id, disable_camera=True, screen_share_permissions="host")
    flags = {"is_video_enabled": True, "is_screen_sharing": True}
    assert deputy.put(f"/meetings/{meeting_id}/participants/status", flags).status == 200
    answer = host.patch(f"/meetings/{meeting_id}/participants/{seat['participant_id']}", {"role": "attendee"})
    assert (answer.data["is_video_enabled"], answer.data["is_screen_sharing"]) == (False, False)
    assert events(guest, meeting_id, "screen_share")[-1]["is_screen_sharing"] is False


# --- what a meeting does without a host


def test_rules_for_meetings_that_nobody_looks_after_have_their_bounds(host: Person, meeting_id: str) -> None:
    rules = {
        "host_handover": "promote",
        "host_handover_minutes": 0,
        "waiting_room_timeout_minutes": 3,
        "waiting_room_escalation": "close",
    }
    data = change(host, meeting_id, **rules).data
    assert {name: data[name] for name in rules} == rules
    for wrong in (
        {"host_handover": "close"},
        {"host_handover_minutes": 61},
        {"host_handover_minutes": -1},
        {"waiting_room_timeout_minutes": 1441},
        {"waiting_room_escalation": "end"},
    ):
        assert change(host, meeting_id, **wrong).status == 422
