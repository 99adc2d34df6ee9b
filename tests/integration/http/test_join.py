"""POST join: the order of refusals, what a seat looks like, and that a refusal leaves no trace."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.counted import counted
from tests.factories.scene import UNKNOWN, change_place, co_host
from tests.factories.world import Answer, Person, World

SEAT = {
    "participant_id",
    "meeting_id",
    "user_id",
    "user_name",
    "role",
    "status",
    "is_muted",
    "is_video_enabled",
    "joined_at",
}


def join(person: Person, meeting_id: str, **wish: Any) -> Answer:
    return person.post(f"/meetings/{meeting_id}/join", wish)


def trace(host: Person, meeting_id: str) -> Any:
    """Return everything that a join could change, as the host sees it."""
    at = f"/meetings/{meeting_id}"
    return (
        host.get(f"{at}/events").data,
        host.get(f"{at}/events?stream=hosts").data,
        host.get(f"{at}/participants?limit=200").data,
        {name: value for name, value in host.get(f"{at}/status").data.items() if name != "timestamp"},
    )


def test_a_join_gives_a_seat_that_others_see(world: World) -> None:
    host, ada = world.person(), world.person("Ada")
    meeting_id = world.meeting(host)
    answer = join(ada, meeting_id, device_type="desktop", connection_id="c1", join_muted=True)
    assert answer.status == 200
    seat = answer.data
    assert set(seat) == SEAT
    assert (seat["user_id"], seat["user_name"], seat["role"], seat["status"]) == (ada.id, "Ada", "attendee", "joined")
    assert (seat["is_muted"], seat["is_video_enabled"], seat["meeting_id"]) == (True, True, meeting_id)
    (seen,) = host.get(f"/meetings/{meeting_id}/participants?status=joined").data
    assert seen["participant_id"] == seat["participant_id"]
    assert seen["device_type"] == "desktop"


def test_joining_again_is_the_same_participant_and_tells_nobody(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    first = join(ada, meeting_id)
    before = trace(host, meeting_id)
    again = join(ada, meeting_id, display_name="Somebody else", join_muted=True)
    assert (again.status, again.data) == (200, first.data)
    assert trace(host, meeting_id) == before
    ada.post(f"/meetings/{meeting_id}/leave")
    back = join(ada, meeting_id).data
    assert back["participant_id"] == first.data["participant_id"]
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 1


def test_hosts_and_co_hosts_keep_their_roles_by_joining(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    second = co_host(world, meeting_id)
    for person, role in ((host, "host"), (second, "co-host")):
        for _ in range(2):
            assert join(person, meeting_id).data["role"] == role
            person.post(f"/meetings/{meeting_id}/leave")


def refused(answer: Answer) -> str:
    assert answer.status == 403, answer.body
    assert set(answer.body) == {"status", "message", "code", "details", "timestamp", "request_id"}
    return str(answer.code)


def test_the_refusals_come_in_the_order_of_the_contract_and_broadcast_nothing(world: World) -> None:
    """Each policy differs from the one before by the rule that refused; everybody who is inside stays untouched."""
    host = world.person()
    blocked, outsider, insider = world.person(), world.person(), world.person(email=f"{new_id().lower()}@corp.com")
    rules: dict[str, Any] = {
        "blocked_users": [blocked.id],
        "allowed_domains": ["corp.com"],
        "require_password": True,
        "passcode": "open sesame",
        "lock_meeting": True,
        "max_participants": 1,
        "require_waiting_room": True,
    }
    right = {"passcode": "open sesame"}

    def steps() -> Iterator[tuple[str, Person, dict[str, Any], str]]:
        yield "blocked_users", blocked, right, "USER_BLOCKED"
        yield "allow_anonymous_join", world.nobody(), {"display_name": "G", **right}, "ANONYMOUS_NOT_ALLOWED"
        yield "allowed_domains", outsider, right, "DOMAIN_NOT_ALLOWED"
        yield "require_password", insider, {}, "PASSCODE_REQUIRED"
        yield "require_password", insider, {"passcode": "OPEN SESAME"}, "PASSCODE_INVALID"
        yield "lock_meeting", insider, right, "MEETING_LOCKED"

    scheduled = world.meeting(host, start=False, policy=rules)
    meeting_id = world.meeting(host, policy=rules)
    before = trace(host, meeting_id)
    for rule, person, wish, code in steps():
        assert join(person, new_id(), **wish).code == "MEETING_NOT_FOUND"
        assert join(person, scheduled, **wish).code == "MEETING_NOT_ACTIVE"
        answer = join(person, meeting_id, **wish)
        assert (refused(answer), answer.body["details"]["rule"]) == (code, rule)
        assert trace(host, meeting_id) == before

    full = world.meeting(host, policy={**rules, "lock_meeting": False, "require_waiting_room": False})
    assert join(insider, full, **right).status == 200
    late = world.person(email=f"{new_id().lower()}@CORP.com")
    before = trace(host, full)
    assert refused(join(late, full, **right)) == "MAX_PARTICIPANTS_REACHED"
    assert trace(host, full) == before

    held = world.meeting(host, policy={**rules, "lock_meeting": False})
    answer = join(late, held, **right)
    assert (answer.status, answer.code) == (202, "WAITING_ROOM_REQUIRED")
    assert join(host, held).status == 200

    host.post(f"/meetings/{meeting_id}/end")
    for _, person, wish, _ in steps():
        ended = join(person, meeting_id, **wish)
        assert (ended.status, ended.code) == (410, "MEETING_ENDED")


def test_of_two_refusals_the_first_in_the_contract_is_told(world: World) -> None:
    host = world.person()
    outsider = world.person()
    rules = {
        "allowed_domains": ["corp.com"],
        "require_password": True,
        "passcode": "open sesame",
        "lock_meeting": True,
        "max_participants": 1,
        "require_waiting_room": True,
    }
    ladder: list[tuple[dict[str, Any], str]] = [
        ({**rules, "blocked_users": [outsider.id]}, "USER_BLOCKED"),
        (rules, "DOMAIN_NOT_ALLOWED"),
        ({**rules, "allowed_domains": []}, "PASSCODE_REQUIRED"),
        ({"lock_meeting": True, "max_participants": 1, "require_waiting_room": True}, "MEETING_LOCKED"),
    ]
    for policy, code in ladder:
        assert refused(join(outsider, world.meeting(host, policy=policy))) == code
    # A full meeting with a waiting room: whoever was admitted takes the only seat.
    full = world.meeting(host, policy={"max_participants": 1, "require_waiting_room": True})
    ada = world.person()
    place = join(ada, full).data["participant_id"]
    change_place(world.runtime, place, was_admitted=True, status="left", waiting_since=None)
    assert join(ada, full).status == 200
    assert refused(join(outsider, full)) == "MAX_PARTICIPANTS_REACHED"


@pytest.mark.parametrize(
    ("steps", "status", "code"),
    [
        ([], 400, "MEETING_NOT_ACTIVE"),
        (["start", "end"], 410, "MEETING_ENDED"),
        (["cancel"], 400, "INVALID_MEETING_STATE"),
    ],
)
def test_a_meeting_that_does_not_run_takes_nobody(world: World, steps: list[str], status: int, code: str) -> None:
    host = world.person()
    meeting_id = world.meeting(host, start=False)
    for step in steps:
        method, path = ("DELETE", "") if step == "cancel" else ("POST", f"/{step}")
        assert host.call(method, f"/meetings/{meeting_id}{path}").status == 200
    for person in (host, world.person(), world.nobody()):
        answer = join(person, meeting_id)
        assert (answer.status, answer.code) == (status, code)
    assert host.get(f"/meetings/{meeting_id}/status").data["attendance_count"] == 0


@pytest.mark.parametrize("meeting_id", [UNKNOWN, "nonsense", "0" * 26, UNKNOWN.lower()])
def test_a_meeting_that_does_not_exist_is_404_for_everybody(world: World, meeting_id: str) -> None:
    for person in (world.person(), world.nobody()):
        answer = join(person, meeting_id, display_name="Guest")
        assert (answer.status, answer.code) == (404, "MEETING_NOT_FOUND")


def test_a_broken_credential_is_no_guest(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={"allow_anonymous_join": True})
    for header in ("Bearer nonsense", "Bearer", "Basic abc", ""):
        answer = world.nobody().post(
            f"/meetings/{meeting_id}/join", {"display_name": "G"}, headers={"Authorization": header}
        )
        assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 0


@pytest.mark.parametrize(
    "wish",
    [
        {"role": "host"},
        {"user_id": "somebody"},
        {"participant_id": "somebody"},
        {"join_muted": "yes"},
        {"join_muted": 1},
        {"device_type": ""},
        {"device_type": "x" * 41},
        {"display_name": "\u200b\u202e"},
        {"display_name": "x" * 101},
        {"passcode": ""},
        {"passcode": "x" * 65},
        {"passcode": 1234},
        {"display_name": "nul\0"},
    ],
)
def test_a_wish_that_is_none_is_422_and_seats_nobody(world: World, wish: dict[str, Any]) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    answer = join(ada, meeting_id, **wish)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert host.get(f"/meetings/{meeting_id}/participants?status=joined").data == []


@pytest.mark.parametrize("wish", ["device_type", "connection_id", "passcode", "display_name"])
def test_null_is_the_same_as_nothing(world: World, wish: str) -> None:
    ada = world.person("Ada")
    meeting_id = world.meeting(world.person())
    assert join(ada, meeting_id, **{wish: None}).data["user_name"] == "Ada"


def test_s46_a_name_is_shown_without_what_cannot_be_seen(world: World) -> None:
    ada = world.person("Ada")
    meeting_id = world.meeting(world.person())
    assert join(ada, meeting_id, display_name=" A\u202eda\u200b <b> ").data["user_name"] == "Ada <b>"


@pytest.mark.parametrize(
    ("rules", "wish", "muted", "video"),
    [
        ({"mute_on_entry": True}, {"join_muted": False}, True, True),
        ({"disable_camera": True}, {"join_without_video": False}, False, False),
        ({}, {"join_muted": True, "join_without_video": True}, True, False),
        ({}, {}, False, True),
    ],
)
def test_the_policy_mutes_and_hides_whoever_enters(
    world: World, rules: dict[str, Any], wish: dict[str, Any], muted: bool, video: bool
) -> None:
    seat = join(world.person(), world.meeting(world.person(), policy=rules), **wish).data
    assert (seat["is_muted"], seat["is_video_enabled"]) == (muted, video)


def test_p5_a_full_meeting_has_room_again_when_somebody_leaves(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={"max_participants": 2})
    people = [world.person() for _ in range(3)]
    world.inside(meeting_id, host, co_host(world, meeting_id), *people[:2])
    assert refused(join(people[2], meeting_id)) == "MAX_PARTICIPANTS_REACHED"
    people[0].post(f"/meetings/{meeting_id}/leave")
    assert join(people[2], meeting_id).status == 200
    assert refused(join(people[0], meeting_id)) == "MAX_PARTICIPANTS_REACHED"
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 4


def test_staff_pass_lock_capacity_passcode_domain_and_waiting_room(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(
        host,
        policy={
            "max_participants": 1,
            "lock_meeting": True,
            "require_waiting_room": True,
            "require_password": True,
            "passcode": "open sesame",
            "allowed_domains": ["corp.com"],
            "join_approval_mode": "manual",
        },
    )
    for person in (host, co_host(world, meeting_id)):
        assert join(person, meeting_id).data["status"] == "joined"


def test_s41_a_banned_person_is_told_so_only_at_the_door_of_join(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    (seat,) = world.inside(meeting_id, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    change_place(world.runtime, seat["participant_id"], status="removed", is_banned=True)
    before = trace(host, meeting_id)
    assert refused(join(ada, meeting_id)) == "USER_BLOCKED"
    for path in ("", "/status", "/participants", "/snapshot", "/events", "/chat", "/hands"):
        answer = ada.get(f"/meetings/{meeting_id}{path}")
        assert (answer.status, answer.code) == (404, "MEETING_NOT_FOUND")
    assert ada.post(f"/meetings/{meeting_id}/token").status == 404
    assert trace(host, meeting_id) == before
    change_place(world.runtime, seat["participant_id"], is_banned=False)
    assert join(ada, meeting_id).data["participant_id"] == seat["participant_id"]


def test_the_same_idempotency_key_joins_once_and_replays_the_answer(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    headers = {"Idempotency-Key": "join-1"}
    first = ada.post(f"/meetings/{meeting_id}/join", headers=headers)
    ada.post(f"/meetings/{meeting_id}/leave")
    again = ada.post(f"/meetings/{meeting_id}/join", headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body == first.body
    assert host.get(f"/meetings/{meeting_id}/participants?status=joined").data == []


def test_what_becomes_of_a_join_is_counted_and_a_replay_is_none(world: World) -> None:
    def joins() -> list[float]:
        return [counted("parley_joins_total", outcome=name) for name in ("admitted", "waiting", "refused")]

    host, ada, bob, eve = (world.person() for _ in range(4))
    meeting_id = world.meeting(host, policy={"require_waiting_room": True, "blocked_users": [eve.id]})
    before = joins()
    for _ in range(2):
        assert host.post(f"/meetings/{meeting_id}/join", headers={"Idempotency-Key": "j"}).status == 200
    for person, status in ((ada, 202), (bob, 202), (eve, 403)):
        assert join(person, meeting_id).status == status
    assert join(ada, meeting_id, device_type=7).status == 422
    assert ada.post(f"/meetings/{meeting_id}/leave").status == 200

    assert joins() == [before[0] + 1, before[1] + 2, before[2] + 1]
