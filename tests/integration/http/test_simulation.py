"""Rules tried on the last joins before they are set: what each would have got, and nothing changes."""

from typing import Any

import pytest
from sqlalchemy import insert

from shared.core.ids import new_id
from shared.participants.models import participants
from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success


def simulate(person: Person, meeting_id: str, **policy: Any) -> Answer:
    return person.post(f"/meetings/{meeting_id}/security/policy/simulate", {"policy": policy})


def outcomes(person: Person, meeting_id: str, **policy: Any) -> dict[str, tuple[Any, ...]]:
    """Return by name what each would get."""
    joins = check_success(simulate(person, meeting_id, **policy))["joins"]
    return {one["user_name"]: (one["then"]["action"], one["then"]["code"], one["then"]["rule"]) for one in joins}


@pytest.fixture
def meeting_id(world: World, host: Person) -> str:
    """A running meeting: the host, a colleague and somebody from elsewhere are inside."""
    made = world.meeting(host)
    world.inside(made, host, world.person("Colleague", email=f"{new_id().lower()}@corp.com"), world.person("Stranger"))
    return made


def test_each_of_the_last_joins_is_judged_by_both_policies(host: Person, meeting_id: str) -> None:
    result = check_success(simulate(host, meeting_id, allowed_domains=["corp.com"]))
    assert (result["evaluated"], result["changed"]) == (3, 1)
    assert result["outcomes"] == {"join": 2, "wait": 0, "deny": 1}
    assert [one["user_name"] for one in result["joins"]] == ["Stranger", "Colleague", "Hedy Host"]
    stranger = result["joins"][0]
    assert stranger["now"] == {"action": "join", "code": None, "rule": "open", "remedy": None}
    assert {**stranger["then"], "remedy": bool(stranger["then"]["remedy"])} == {
        "action": "deny",
        "code": "DOMAIN_NOT_ALLOWED",
        "rule": "allowed_domains",
        "remedy": True,
    }


RULES: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
    ({"chat_permissions": "none"}, ("join", None, "open")),
    ({"lock_meeting": True}, ("deny", "MEETING_LOCKED", "lock_meeting")),
    ({"require_waiting_room": True}, ("wait", "WAITING_ROOM_REQUIRED", "require_waiting_room")),
    ({"join_approval_mode": "manual"}, ("wait", "WAITING_ROOM_REQUIRED", "join_approval_mode")),
    ({"require_password": True, "passcode": "sesame"}, ("deny", "PASSCODE_REQUIRED", "require_password")),
]


@pytest.mark.parametrize(("rules", "expected"), RULES)
def test_the_simulation_says_what_a_join_then_gets(
    world: World, host: Person, meeting_id: str, rules: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    simulated = outcomes(host, meeting_id, **rules)
    assert (simulated["Stranger"], simulated["Hedy Host"]) == (expected, ("join", None, "role"))
    host.patch(f"/meetings/{meeting_id}/security/policy", rules)
    answer = world.person().post(f"/meetings/{meeting_id}/join")
    assert {200: "join", 202: "wait", 403: "deny"}[answer.status] == expected[0]
    assert answer.code == expected[1]


def test_nothing_is_changed_and_nobody_is_told(world: World, host: Person, meeting_id: str) -> None:
    paths = ("/security/policy", "/participants", "/events?limit=200", "/status")
    before = [host.get(f"/meetings/{meeting_id}{path}").data for path in paths]
    simulate(host, meeting_id, lock_meeting=True, require_password=True, passcode="sesame", blocked_users=[UNKNOWN])
    assert [host.get(f"/meetings/{meeting_id}{path}").data for path in paths] == before
    assert world.person().post(f"/meetings/{meeting_id}/join").status == 200


def test_people_are_judged_as_newcomers_whatever_hosts_decided_since(world: World, host: Person) -> None:
    rules = {"require_waiting_room": True, "allow_anonymous_join": True, "require_password": True, "passcode": "sesame"}
    meeting_id = world.meeting(host, policy=rules)
    names = ("Admitted", "Denied", "Waiter", "Removed", "Banned")
    ids = {}
    for name in names:
        wish = {"display_name": name, "passcode": "sesame"}
        ids[name] = world.nobody().post(f"/meetings/{meeting_id}/join", wish).data["participant_id"]
    host.post(f"/meetings/{meeting_id}/waiting-room/admit", {"participant_ids": [ids["Admitted"]]})
    host.post(f"/meetings/{meeting_id}/waiting-room/deny", {"participant_ids": [ids["Denied"]]})
    host.post(f"/meetings/{meeting_id}/participants/{ids['Removed']}/remove", {"ban": False})
    host.post(f"/meetings/{meeting_id}/participants/{ids['Banned']}/remove", {"ban": True})
    banned = ("deny", "USER_BLOCKED", "blocked_users")
    assert outcomes(host, meeting_id, require_waiting_room=False) == {
        **dict.fromkeys(names, ("join", None, "open")),
        "Banned": banned,
    }
    unchanged = check_success(simulate(host, meeting_id, enable_polls=False))
    assert (unchanged["changed"], unchanged["outcomes"]) == (0, {"join": 0, "wait": 4, "deny": 1})
    asked = outcomes(host, meeting_id, passcode="another")
    assert asked == {**dict.fromkeys(names, ("deny", "PASSCODE_REQUIRED", "require_password")), "Banned": banned}


def test_only_the_last_hundred_who_asked_are_looked_at(world: World, host: Person) -> None:
    meeting_id = world.meeting(host, policy={"allow_anonymous_join": True}, invitees=["nobody@example.com"])
    assert check_success(simulate(host, meeting_id, lock_meeting=True))["evaluated"] == 0
    with world.runtime.transaction() as tx:
        base = {"meeting_id": meeting_id, "role": "attendee", "status": "denied"}
        rows = [{**base, "id": new_id(), "user_name": f"{i}", "created_at": tx.now} for i in range(100)]
        tx.execute(insert(participants), rows)
    world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Newest"})
    result = check_success(simulate(host, meeting_id, lock_meeting=True))
    assert (result["evaluated"], result["changed"], result["joins"][0]["user_name"]) == (100, 100, "Newest")


def test_only_hosts_and_co_hosts_try_rules(world: World, host: Person, meeting_id: str) -> None:
    attendee = world.person()
    world.inside(meeting_id, attendee)
    check_failure(simulate(attendee, meeting_id, lock_meeting=True), 403, "INSUFFICIENT_PERMISSION")
    check_failure(simulate(world.person(), meeting_id, lock_meeting=True), 404, "MEETING_NOT_FOUND")
    check_failure(simulate(world.nobody(), meeting_id, lock_meeting=True), 401, "UNAUTHENTICATED")
    assert simulate(co_host(world, meeting_id), meeting_id, lock_meeting=True).status == 200


def test_what_could_not_be_set_cannot_be_tried(host: Person, meeting_id: str) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"max_participants": 0}, "policy.max_participants"),
        ({"secret": True}, "policy.secret"),
        ({"require_password": True}, "policy.passcode"),
    ]
    for policy, field in wrong:
        answer = check_failure(simulate(host, meeting_id, **policy), 422, "VALIDATION_ERROR")
        assert list(answer.body["details"]) == [field]
