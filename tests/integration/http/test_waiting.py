"""The waiting room from the waiter's side: held with a position, and shut out of everything inside."""

from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.world import Person, World

HELD = {"require_waiting_room": True}


def held(world: World, **more: Any) -> tuple[Person, str]:
    """Return a host who is inside a meeting with a waiting room, and the meeting."""
    host = world.person()
    meeting_id = world.meeting(host, policy={**HELD, **more})
    world.inside(meeting_id, host)
    return host, meeting_id


def wait(person: Person, meeting_id: str, **wish: Any) -> dict[str, Any]:
    answer = person.post(f"/meetings/{meeting_id}/join", wish)
    assert (answer.status, answer.code, answer.body["status"]) == (202, "WAITING_ROOM_REQUIRED", "success")
    data: dict[str, Any] = answer.data
    return data


def test_who_waits_is_told_the_place_in_the_queue_and_hosts_are_told_who(world: World) -> None:
    host, meeting_id = held(world)
    waiters = [world.person() for _ in range(3)]
    before = host.get(f"/meetings/{meeting_id}/events").data
    for position, person in enumerate(waiters, 1):
        data = wait(person, meeting_id)
        assert set(data) == {"participant_id", "meeting_id", "status", "position"}
        assert (data["status"], data["position"]) == ("waiting", position)
    told = host.get(f"/meetings/{meeting_id}/events?stream=hosts").data
    assert [(e["type"], e["data"]["action"], e["data"]["user_id"], e["data"]["position"]) for e in told] == [
        ("waiting_room", "waiting", person.id, position) for position, person in enumerate(waiters, 1)
    ]
    assert host.get(f"/meetings/{meeting_id}/events").data == before
    status = host.get(f"/meetings/{meeting_id}/status").data
    assert (status["active_participants"], status["waiting_participants"]) == (1, 3)


def test_asking_again_keeps_the_place_and_moves_up_when_somebody_goes(world: World) -> None:
    host, meeting_id = held(world)
    first, second = world.person(), world.person()
    wait(first, meeting_id)
    place = wait(second, meeting_id)
    assert wait(second, meeting_id) == place
    assert first.post(f"/meetings/{meeting_id}/leave").status == 200
    assert wait(second, meeting_id) == {**place, "position": 1}
    told = host.get(f"/meetings/{meeting_id}/events?stream=hosts").data
    assert [event["data"]["action"] for event in told] == ["waiting", "waiting", "withdrawn"]
    assert wait(first, meeting_id)["position"] == 2


INSIDE = [
    ("GET", "/participants"),
    ("GET", "/snapshot"),
    ("GET", "/events"),
    ("GET", "/events?stream=hosts"),
    ("GET", "/chat"),
    ("GET", "/hands"),
    ("POST", "/chat"),
    ("POST", "/reactions"),
    ("POST", "/token"),
    ("PUT", "/participants/status"),
]
BODIES = {"/chat": {"content": "hello"}, "/reactions": {"reaction_type": "clap"}}


@pytest.mark.parametrize("then", ["waits", "goes away", "waits until the end"])
@pytest.mark.parametrize(("method", "path"), INSIDE)
def test_s37_a_waiter_gets_nothing_of_what_is_inside_not_even_by_going_away(
    world: World, method: str, path: str, then: str
) -> None:
    host, meeting_id = held(world)
    host.post(f"/meetings/{meeting_id}/chat", {"content": "not for waiters"})
    ada = world.person()
    wait(ada, meeting_id)
    if then == "goes away":
        ada.post(f"/meetings/{meeting_id}/leave")
    elif then == "waits until the end":
        host.post(f"/meetings/{meeting_id}/end")
    before = host.get(f"/meetings/{meeting_id}/events").data
    body = BODIES.get(path, {"is_muted": True} if method == "PUT" else {})
    answer = ada.call(method, f"/meetings/{meeting_id}{path}", None if method == "GET" else body)
    is_over = then == "waits until the end" and method != "GET"
    assert (answer.status, answer.code) == ((410, "MEETING_ENDED") if is_over else (403, "INSUFFICIENT_PERMISSION"))
    assert host.get(f"/meetings/{meeting_id}/events").data == before
    if method == "GET":
        assert host.call(method, f"/meetings/{meeting_id}{path}").status == 200


@pytest.mark.parametrize("then", ["waits", "goes away"])
def test_s37_a_waiter_hears_of_the_own_stream_only(world: World, then: str) -> None:
    host, meeting_id = held(world)
    ada = world.person()
    wait(ada, meeting_id)
    if then == "goes away":
        ada.post(f"/meetings/{meeting_id}/leave")
    assert ada.get(f"/meetings/{meeting_id}/status").data["cursors"] == {"me": int(then == "goes away")}
    assert set(host.get(f"/meetings/{meeting_id}/status").data["cursors"]) == {"meeting", "me", "hosts"}


def test_attendees_do_not_see_who_waits_or_only_waited_and_hosts_do(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={"join_approval_mode": "domain_restricted", "allowed_domains": ["in.com"]})
    ada = world.person(email=f"{new_id().lower()}@in.com")
    world.inside(meeting_id, host, ada)
    waits, went = world.person(), world.person()
    ids = [wait(person, meeting_id)["participant_id"] for person in (waits, went)]
    went.post(f"/meetings/{meeting_id}/leave")

    def seen(person: Person) -> set[str]:
        return {p["participant_id"] for p in person.get(f"/meetings/{meeting_id}/participants").data}

    assert seen(ada).isdisjoint(ids)
    assert len(seen(ada)) == 2
    assert seen(host) == {*seen(ada), *ids}


@pytest.mark.parametrize(
    ("rules", "address", "status"),
    [
        ({"join_approval_mode": "manual"}, "in.com", 202),
        ({"join_approval_mode": "automatic"}, "out.com", 200),
        ({"join_approval_mode": "domain_restricted", "allowed_domains": ["in.com"]}, "in.com", 200),
        ({"join_approval_mode": "domain_restricted", "allowed_domains": ["IN.com"]}, "out.com", 202),
        ({"join_approval_mode": "domain_restricted", "allowed_domains": ["in.com"]}, "sub.in.com", 202),
        ({"join_approval_mode": "domain_restricted"}, "in.com", 202),
        ({**HELD, "join_approval_mode": "domain_restricted", "allowed_domains": ["in.com"]}, "in.com", 202),
    ],
)
def test_s40_the_approval_mode_decides_who_waits(
    world: World, rules: dict[str, Any], address: str, status: int
) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=rules)
    ada = world.person(email=f"{new_id().lower()}@{address}")
    assert ada.post(f"/meetings/{meeting_id}/join").status == status
    joined = host.get(f"/meetings/{meeting_id}/status").data["active_participants"]
    assert joined == (1 if status == 200 else 0)


def test_a_waiter_may_fetch_a_ticket_for_the_socket(world: World) -> None:
    _, meeting_id = held(world)
    ada, stranger = world.person(), world.person()
    wait(ada, meeting_id)
    answer = ada.post(f"/meetings/{meeting_id}/ws-ticket")
    assert (answer.status, answer.data["expires_in"]) == (201, 30)
    assert stranger.post(f"/meetings/{meeting_id}/ws-ticket").code == "MEETING_NOT_FOUND"
    ada.post(f"/meetings/{meeting_id}/leave")
    assert ada.post(f"/meetings/{meeting_id}/ws-ticket").code == "INSUFFICIENT_PERMISSION"


def test_s38_being_held_does_not_end_by_another_name_or_another_try(world: World) -> None:
    host, meeting_id = held(world)
    ada = world.person()
    place = wait(ada, meeting_id)
    for wish in ({"display_name": "Host"}, {"connection_id": "second tab"}):
        assert wait(ada, meeting_id, **wish)["participant_id"] == place["participant_id"]
    ada.post(f"/meetings/{meeting_id}/leave")
    assert wait(ada, meeting_id)["participant_id"] == place["participant_id"]
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 1
