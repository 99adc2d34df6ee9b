"""The snapshot, and that a snapshot and the events behind it make a later snapshot (P25)."""

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.scene import co_host
from tests.factories.world import Person, World

Json = dict[str, Any]


# --- a client's reducer: no more than contract 11 tells


def reduce(snapshot: Json, events: list[Json]) -> Json:
    """Return what a client makes of a snapshot and the events behind its cursors."""
    state = deepcopy(snapshot)
    for event in events:
        data = event["data"]
        if event["type"] in ("join", "participant_update"):
            _enter(state, data)
        elif event["type"] == "leave":
            _out(state, data["participant_id"], data["left_at"])
        elif event["type"] in ("hand_raise", "screen_share"):
            _change(state, data["participant_id"], {n: v for n, v in data.items() if n in state["me"]})
        elif event["type"] == "meeting_status":
            state["meeting"] |= {name: value for name, value in data.items() if name in state["meeting"]}
            if data["status"] == "completed":
                for person in list(state["participants"]):
                    _out(state, person["participant_id"], data["ended_at"])
        state["cursors"][event["stream"]] = event["seq"]
    return state


def _enter(state: Json, person: Json) -> None:
    others = [p for p in state["participants"] if p["participant_id"] != person["participant_id"]]
    state["participants"] = sorted([*others, person], key=lambda p: p["participant_id"])
    if person["participant_id"] == state["me"]["participant_id"]:
        state["me"] = dict(person)


def _out(state: Json, participant_id: str, left_at: str) -> None:
    gone = {"status": "left", "left_at": left_at, "is_screen_sharing": False}
    _change(state, participant_id, {**gone, "is_hand_raised": False, "hand_raised_at": None})
    state["participants"] = [p for p in state["participants"] if p["participant_id"] != participant_id]


def _change(state: Json, participant_id: str, values: Json) -> None:
    for person in (state["me"], *state["participants"]):
        if person["participant_id"] == participant_id:
            person |= values


# --- the meeting that things happen to


class Room:
    """A running meeting with a host, an attendee Ada who only watches, Bob who does things, and Cy who is outside."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.host, self.ada, self.bob, self.cy = (world.person(name) for name in ("Host", "Ada", "Bob", "Cy"))
        domain = self.bob.email.partition("@")[2]
        policy = {
            "join_approval_mode": "domain_restricted",
            "allowed_domains": [domain],
            "allow_anonymous_join": True,
            "custom_settings": {"n": 1},
        }
        self.id = world.meeting(self.host, policy=policy)
        self.at = f"/meetings/{self.id}"
        seats = world.inside(self.id, self.host, self.ada, self.bob)
        self.seats = {p.id: s["participant_id"] for p, s in zip((self.host, self.ada, self.bob), seats, strict=True)}
        self.waiter = world.person("Waiter", email=f"{new_id().lower()}@elsewhere.org")
        self.message = self.bob.post(f"{self.at}/chat", {"content": "first"}).data["message_id"]
        self.private = self.bob.post(
            f"{self.at}/chat", {"content": "psst", "recipient_id": self.seats[self.ada.id]}
        ).data["message_id"]

    def snapshot(self, who: Person) -> Json:
        answer = who.get(f"{self.at}/snapshot")
        assert answer.status == 200, answer.body
        data: Json = answer.data
        return data

    def later(self, who: Person, cursors: dict[str, int]) -> list[Json]:
        """Return the events of all streams behind the cursors, as they would come over a resumed socket."""
        found: list[Json] = []
        for stream, seq in cursors.items():
            found += who.get(f"{self.at}/events?stream={stream}&after_seq={seq}&limit=200").data
        return sorted(found, key=lambda event: event["timestamp"])

    def flag(self, **flags: bool) -> Callable[[], Any]:
        return lambda: self.bob.put(f"{self.at}/participants/status", flags)

    def mutations(self) -> dict[str, Callable[[], Any]]:
        """Return everything that can be done to a running meeting at this stage."""
        chat, own = f"{self.at}/chat", {"recipient_id": self.seats[self.ada.id]}
        return {
            "join": lambda: self.cy.post(f"{self.at}/join", {"device_type": "phone", "join_muted": True}),
            "join again": lambda: self.bob.post(f"{self.at}/join"),
            "a guest waits": lambda: self.world.nobody().post(f"{self.at}/join", {"display_name": "Guest"}),
            "leave": lambda: self.bob.post(f"{self.at}/leave"),
            "come back": lambda: (self.bob.post(f"{self.at}/leave"), self.bob.post(f"{self.at}/join"))[-1],
            "wait": lambda: self.waiter.post(f"{self.at}/join"),
            "withdraw": lambda: (self.waiter.post(f"{self.at}/join"), self.waiter.post(f"{self.at}/leave"))[-1],
            "mute": self.flag(is_muted=True),
            "unmute": self.flag(is_muted=False),
            "camera off": self.flag(is_video_enabled=False),
            "screen": self.flag(is_screen_sharing=True),
            "screen off": self.flag(is_screen_sharing=False),
            "hand": self.flag(is_hand_raised=True),
            "hand down": self.flag(is_hand_raised=False),
            "all flags": self.flag(is_muted=True, is_video_enabled=False, is_screen_sharing=True, is_hand_raised=True),
            "retitle": lambda: self.host.patch(self.at, {"title": f"Title {new_id()}", "description": "New"}),
            "chat": lambda: self.bob.post(chat, {"content": "hello"}),
            "private chat": lambda: self.bob.post(chat, {"content": "psst", **own}),
            "edit": lambda: self.bob.patch(f"{chat}/{self.message}", {"content": "second"}),
            "edit privately": lambda: self.bob.patch(f"{chat}/{self.private}", {"content": "second"}),
            "react": lambda: self.bob.post(f"{chat}/{self.message}/reactions", {"emoji": "x"}),
            "react privately": lambda: self.ada.post(f"{chat}/{self.private}/reactions", {"emoji": "x"}),
            "delete": lambda: self.bob.delete(f"{chat}/{self.message}"),
            "delete privately": lambda: self.bob.delete(f"{chat}/{self.private}"),
            "delete as host": lambda: self.host.delete(f"{chat}/{self.message}"),
            "reaction": lambda: self.bob.post(f"{self.at}/reactions", {"reaction_type": "clap"}),
            "token": lambda: self.bob.post(f"{self.at}/token"),
            "ticket": lambda: self.bob.post(f"{self.at}/ws-ticket"),
            "end": lambda: self.host.post(f"{self.at}/end"),
        }


MUTATIONS = [
    "join",
    "join again",
    "a guest waits",
    "leave",
    "come back",
    "wait",
    "withdraw",
    "mute",
    "unmute",
    "camera off",
    "screen",
    "screen off",
    "hand",
    "hand down",
    "all flags",
    "retitle",
    "chat",
    "private chat",
    "edit",
    "edit privately",
    "react",
    "react privately",
    "delete",
    "delete privately",
    "delete as host",
    "reaction",
    "token",
    "ticket",
    "end",
]


def test_the_list_of_mutations_is_whole(world: World) -> None:
    assert set(MUTATIONS) == set(Room(world).mutations())


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_p25_a_snapshot_and_the_events_behind_it_make_the_later_snapshot(world: World, mutation: str) -> None:
    room = Room(world)
    witnesses = (room.host, room.ada, room.bob)
    before = {who.name: room.snapshot(who) for who in witnesses}
    assert room.mutations()[mutation]().status < 300
    for who in witnesses:
        events = room.later(who, before[who.name]["cursors"])
        assert reduce(before[who.name], events) == room.snapshot(who), who.name


def test_p25_a_guest_comes_in_by_the_events_too(world: World) -> None:
    host = world.person("Host")
    meeting_id = world.meeting(host, policy={"allow_anonymous_join": True})
    world.inside(meeting_id, host)
    at = f"/meetings/{meeting_id}"
    before = host.get(f"{at}/snapshot").data
    seat = world.nobody().post(f"{at}/join", {"display_name": "Guest"}).data
    guest = world.guest(seat["guest_token"])
    events = host.get(f"{at}/events?after_seq={before['cursors']['meeting']}").data
    assert reduce(before, events) == host.get(f"{at}/snapshot").data
    mine = guest.get(f"{at}/snapshot").data
    guest.put(f"{at}/participants/status", {"is_hand_raised": True})
    guest.post(f"{at}/leave")
    events = guest.get(f"{at}/events?after_seq={mine['cursors']['meeting']}").data
    assert reduce(mine, events) == guest.get(f"{at}/snapshot").data


@pytest.mark.parametrize("seed", range(8))
def test_p25_any_sequence_of_mutations_keeps_a_client_that_only_reads_events_true(world: World, seed: int) -> None:
    room = Room(world)
    chance = random.Random(seed)
    mine = {who.name: room.snapshot(who) for who in (room.host, room.ada)}
    names = [name for name in MUTATIONS if name != "end"]
    steps = [*(chance.choice(names) for _ in range(14)), "end"]
    for step in steps:
        room.mutations()[step]()  # some are refused by now: then nothing may change
        if step != "end" and chance.random() < 0.6:
            continue
        for who in (room.host, room.ada):
            events = room.later(who, mine[who.name]["cursors"])
            mine[who.name] = reduce(mine[who.name], events)
            assert mine[who.name] == room.snapshot(who), (who.name, steps)


# --- what is in it


def test_the_snapshot_has_what_a_client_needs_and_agrees_with_the_other_doors(world: World) -> None:
    room = Room(world)
    for who, streams in ((room.host, {"meeting", "me", "hosts"}), (room.ada, {"meeting", "me"})):
        taken = room.snapshot(who)
        assert set(taken) == {
            "meeting",
            "me",
            "participants",
            "policy",
            "breakout_rooms",
            "polls",
            "cursors",
            "epoch",
        }
        assert taken["meeting"] == who.get(room.at).data
        assert taken["participants"] == who.get(f"{room.at}/participants?status=joined").data
        assert taken["me"] in taken["participants"]
        assert taken["me"]["user_id"] == who.id
        assert taken["cursors"] == who.get(f"{room.at}/status").data["cursors"]
        assert set(taken["cursors"]) == streams
        assert taken["policy"]["join_approval_mode"] == "domain_restricted"


def test_the_policy_in_the_snapshot_is_what_its_events_tell_without_passcode_and_blocked_people(world: World) -> None:
    host, ada, blocked = world.person(), world.person(), world.person()
    policy = {"require_password": True, "passcode": "open sesame", "blocked_users": [blocked.id]}
    meeting_id = world.meeting(host, policy=policy)
    host.post(f"/meetings/{meeting_id}/join")
    assert ada.post(f"/meetings/{meeting_id}/join", {"passcode": "open sesame"}).status == 200
    taken = {who: who.get(f"/meetings/{meeting_id}/snapshot") for who in (host, ada)}
    for answer in taken.values():
        assert answer.data["policy"]["has_passcode"] is True
        assert not {"passcode", "passcode_hash"} & set(answer.data["policy"])
        assert "sesame" not in str(answer.body)
        assert blocked.id not in str(answer.body)
    assert host.get(f"/meetings/{meeting_id}/security/policy").data["blocked_users"] == [blocked.id]


def test_the_snapshot_is_for_who_is_or_was_inside_and_for_staff(world: World) -> None:
    host, invited, ada = world.person(), world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    world.inside(meeting_id, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    path = f"/meetings/{meeting_id}/snapshot"
    for person, status in (
        (host, 200),
        (co_host(world, meeting_id), 200),
        (ada, 200),
        (invited, 403),
        (world.person(), 404),
        (world.nobody(), 401),
    ):
        assert person.get(path).status == status
    assert host.get(f"/meetings/{new_id()}/snapshot").code == "MEETING_NOT_FOUND"
