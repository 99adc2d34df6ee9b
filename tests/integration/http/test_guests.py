"""Guests: in without an account where the policy allows it, with a token for that one meeting."""

from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.scene import change_place
from tests.factories.world import Answer, Person, World

OPEN = {"allow_anonymous_join": True}


def arrive(world: World, meeting_id: str, name: str = "Guest") -> tuple[Person, dict[str, Any]]:
    """Let a guest join; return the guest and the seat."""
    answer = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": name})
    assert answer.status == 200, answer.body
    return world.guest(answer.data["guest_token"]), answer.data


def test_a_guest_joins_where_the_policy_allows_it_and_is_seen_by_name(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    world.inside(meeting_id, host)
    _, seat = arrive(world, meeting_id, "Zoë")
    assert (seat["user_id"], seat["user_name"], seat["role"], seat["status"]) == (None, "Zoë", "attendee", "joined")
    seen = host.get(f"/meetings/{meeting_id}/participants?status=joined").data[-1]
    assert (seen["participant_id"], seen["user_id"], seen["user_name"]) == (seat["participant_id"], None, "Zoë")
    joined = host.get(f"/meetings/{meeting_id}/events").data[-1]
    assert (joined["type"], joined["user_id"], joined["data"]["user_name"]) == ("join", None, "Zoë")


@pytest.mark.parametrize("policy", [{}, {"allow_anonymous_join": False}])
def test_s45_a_guest_is_refused_where_the_policy_does_not_allow_it(world: World, policy: dict[str, Any]) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=policy)
    for wish in ({}, {"display_name": "Guest"}):
        answer = world.nobody().post(f"/meetings/{meeting_id}/join", wish)
        assert (answer.status, answer.code) == (403, "ANONYMOUS_NOT_ALLOWED")
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 0


@pytest.mark.parametrize("wish", [{}, {"display_name": None}, {"display_name": "   "}, {"display_name": "\u200b"}])
def test_s45_a_guest_must_say_a_name(world: World, wish: dict[str, Any]) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    answer = world.nobody().post(f"/meetings/{meeting_id}/join", wish)
    assert (answer.status, answer.code, list(answer.body["details"])) == (422, "VALIDATION_ERROR", ["display_name"])
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 0


def test_a_guest_uses_every_door_of_the_meeting_with_the_token(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    guest, seat = arrive(world, meeting_id)
    at = f"/meetings/{meeting_id}"
    for path in ("", "/status", "/participants", "/snapshot", "/events", "/chat", "/hands"):
        assert guest.get(f"{at}{path}").status == 200, path
    said = guest.post(f"{at}/chat", {"content": "hello"}).data
    assert said["sender_id"] == seat["participant_id"]
    assert guest.post(f"{at}/reactions", {"reaction_type": "wave"}).status == 201
    assert guest.put(f"{at}/participants/status", {"is_hand_raised": True}).data["is_hand_raised"] is True
    assert guest.post(f"{at}/token").status == 200
    assert guest.post(f"{at}/ws-ticket").status == 201
    assert guest.post(f"{at}/leave").status == 200
    assert guest.get(f"{at}/snapshot").data["me"]["participant_id"] == seat["participant_id"]


def test_a_guest_who_joins_again_with_the_token_keeps_the_seat(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    guest, seat = arrive(world, meeting_id)
    again = guest.post(f"/meetings/{meeting_id}/join").data
    assert again["participant_id"] == seat["participant_id"]
    assert "guest_token" not in again
    guest.post(f"/meetings/{meeting_id}/leave")
    assert guest.post(f"/meetings/{meeting_id}/join").data["participant_id"] == seat["participant_id"]
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 1
    # Without the token nobody can tell that it is the same person.
    assert arrive(world, meeting_id)[1]["participant_id"] != seat["participant_id"]


def test_a_guest_token_opens_no_other_meeting_and_nothing_of_accounts(world: World) -> None:
    host = world.person()
    here, there = (world.meeting(host, policy=OPEN) for _ in range(2))
    guest, _ = arrive(world, here)
    arrive(world, there, "Somebody else")
    at = f"/meetings/{there}"
    before = host.get(f"{at}/events").data

    def closed(answer: Answer) -> None:
        assert (answer.status, answer.code) == (404, "MEETING_NOT_FOUND")

    for path in ("", "/status", "/participants", "/snapshot", "/events", "/chat", "/hands"):
        closed(guest.get(f"{at}{path}"))
    for path, body in (
        ("/chat", {"content": "x"}),
        ("/reactions", {"reaction_type": "wave"}),
        ("/token", {}),
        ("/ws-ticket", {}),
        ("/leave", {}),
        ("/start", {}),
        ("/end", {}),
    ):
        closed(guest.post(f"{at}{path}", body))
    for method, path in (("GET", "/auth/me"), ("GET", "/meetings"), ("POST", "/meetings"), ("POST", "/auth/refresh")):
        assert guest.call(method, path, {"title": "x"} if method == "POST" else None).status == 401
    assert host.get(f"{at}/events").data == before


def test_a_guest_has_the_rights_of_an_attendee(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    guest, _ = arrive(world, meeting_id)
    at = f"/meetings/{meeting_id}"
    for method, path, body in (
        ("PATCH", "", {"title": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/start", {}),
        ("POST", "/end", {}),
        ("GET", "/events?stream=hosts", None),
    ):
        answer = guest.call(method, f"{at}{path}", body)
        assert (answer.status, answer.code) == (403, "INSUFFICIENT_PERMISSION")
    assert host.get(at).data["status"] == "in_progress"


def test_a_guest_who_waits_has_a_token_to_ask_again(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={**OPEN, "require_waiting_room": True})
    held = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Guest"})
    assert (held.status, held.data["position"]) == (202, 1)
    guest = world.guest(held.data["guest_token"])
    again = guest.post(f"/meetings/{meeting_id}/join")
    assert (again.status, again.data["participant_id"]) == (202, held.data["participant_id"])
    assert "guest_token" not in again.data
    assert guest.get(f"/meetings/{meeting_id}/participants").status == 403


@pytest.mark.parametrize("status", ["removed", "denied"])
def test_a_guest_who_was_sent_away_has_a_token_that_is_worth_nothing(world: World, status: str) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    guest, seat = arrive(world, meeting_id)
    assert guest.get(f"/meetings/{meeting_id}").status == 200
    guest.post(f"/meetings/{meeting_id}/leave")
    change_place(world.runtime, seat["participant_id"], status=status)
    for method, path in (("GET", ""), ("GET", "/chat"), ("POST", "/token"), ("POST", "/ws-ticket")):
        answer = guest.call(method, f"/meetings/{meeting_id}{path}", {} if method == "POST" else None)
        assert answer.status in (401, 404)
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 0


@pytest.mark.parametrize("rules", [{"allowed_domains": ["corp.com"]}, {"require_password": True, "passcode": "sesame"}])
def test_the_other_rules_hold_for_guests_too(world: World, rules: dict[str, Any]) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={**OPEN, **rules})
    answer = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "ada@corp.com"})
    assert answer.code == ("PASSCODE_REQUIRED" if "passcode" in rules else "DOMAIN_NOT_ALLOWED")
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 0


def test_guests_take_seats_like_everybody(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={**OPEN, "max_participants": 1})
    guest, _ = arrive(world, meeting_id)
    full = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Second"})
    assert full.code == "MAX_PARTICIPANTS_REACHED"
    guest.post(f"/meetings/{meeting_id}/leave")
    arrive(world, meeting_id, "Second")


def test_s45_a_forged_guest_token_is_refused(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy=OPEN)
    guest, _ = arrive(world, meeting_id)
    assert guest.token is not None
    head, _, signature = guest.token.split(".")
    _, other, _ = arrive(world, meeting_id)[1]["guest_token"].split(".")
    for token in (f"{head}.{other}.{signature}", f"{head}.{other}.", new_id()):
        assert world.guest(token).get(f"/meetings/{meeting_id}").status == 401
