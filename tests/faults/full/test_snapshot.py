"""A snapshot and the events behind it make the next snapshot: for each kind of change, and for many in a row."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from shared.participants.jobs import UpdateParticipants
from tests.factories.world import Person, World
from tests.faults.report import Figures, is_short
from workers import app  # noqa: F401  registers every task
from workers.task import run_job

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(1800)]

Snapshot = dict[str, Any]
# Of an event about somebody, what the roster shows; the rest of it says why.
SHOWN = {
    "user_name", "role", "status", "is_muted", "is_video_enabled", "is_screen_sharing", "is_hand_raised",
    "hand_raised_at", "can_publish", "can_chat", "joined_at", "left_at", "device_type", "breakout_room_id",
}  # fmt: skip


class Mirror:
    """A client that took one snapshot and then only listens."""

    def __init__(self, person: Person, meeting_id: str) -> None:
        self.person = person
        self.meeting_id = meeting_id
        self.state = self.fresh()

    def fresh(self) -> Snapshot:
        """Take a snapshot; who is inside goes by id."""
        taken: Snapshot = dict(self.person.get(f"/meetings/{self.meeting_id}/snapshot").data)
        taken["participants"] = {each["participant_id"]: each for each in taken["participants"]}
        return taken

    def listen(self) -> None:
        """Hear what is behind the cursors."""
        for stream in self.state["cursors"]:
            while events := self._behind(stream):
                for event in events:
                    assert event["seq"] == self.state["cursors"][stream] + 1
                    self.state["cursors"][stream] = event["seq"]
                    self._apply(event["type"], event["data"])

    def _behind(self, stream: str) -> list[dict[str, Any]]:
        query = f"stream={stream}&after_seq={self.state['cursors'][stream]}&limit=200"
        found: list[dict[str, Any]] = self.person.get(f"/meetings/{self.meeting_id}/events?{query}").data
        return found

    def _apply(self, kind: str, data: dict[str, Any]) -> None:
        roster, me = self.state["participants"], self.state["me"]
        if kind == "leave":
            roster.pop(data["participant_id"], None)
        elif kind == "join":
            roster[data["participant_id"]] = data
        elif kind in ("participant_update", "hand_raise", "screen_share"):
            for one in data.get("participants", [data]):  # one, or those whom a batch changed
                roster.get(one["participant_id"], {}).update({k: v for k, v in one.items() if k in SHOWN})
        elif kind == "meeting_status":
            known = self.state["meeting"]
            known.update({k: v for k, v in data.items() if k in known})
        elif kind == "policy":
            self.state["policy"].update(data.get("policy", data))
        if me["participant_id"] in roster:
            self.state["me"] = roster[me["participant_id"]]

    def check(self, after: str) -> None:
        """Compare with what a snapshot of now says."""
        self.listen()
        fresh = self.fresh()
        for part in ("meeting", "me", "participants", "policy", "cursors"):
            assert self.state[part] == fresh[part], (after, part)


Change = Callable[[World, str, list[Person], random.Random], None]


def _flags(**flags: bool) -> Change:
    def change(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
        dice.choice(people).put(f"/meetings/{meeting_id}/participants/status", flags)

    return change


def _rename(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    people[0].patch(f"/meetings/{meeting_id}", {"title": f"Title {dice.random()}"})


def _describe(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    people[0].patch(f"/meetings/{meeting_id}", {"description": f"About {dice.random()}"})


def _join(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    dice.choice(people[2:]).post(f"/meetings/{meeting_id}/join", {"device_type": "phone"})


def _join_anew(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    somebody = world.person()
    somebody.post(f"/meetings/{meeting_id}/join")
    people.append(somebody)


def _leave(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    dice.choice(people[2:]).post(f"/meetings/{meeting_id}/leave")


def _chat(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    dice.choice(people).post(f"/meetings/{meeting_id}/chat", {"content": "hello", "message_type": "text"})


def _rule(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    rules = {
        "lock_meeting": dice.random() < 0.3,
        "screen_share_permissions": dice.choice(["all", "host", "none"]),
        "enable_hand_raise": dice.random() < 0.7,
        "require_waiting_room": dice.random() < 0.5,
        "custom_settings": {"dice": dice.random()},
    }
    people[0].patch(f"/meetings/{meeting_id}/security/policy", dict([dice.choice(list(rules.items()))]))


def _somebody(meeting_id: str, people: list[Person], dice: random.Random) -> str:
    whom = dice.choice(people[2:]).id
    roster = people[0].get(f"/meetings/{meeting_id}/participants?limit=200").data
    id_ = next(each["participant_id"] for each in roster if each["user_id"] == whom)
    return f"/meetings/{meeting_id}/participants/{id_}"


def _moderate(**changes: Any) -> Change:
    def change(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
        people[0].patch(_somebody(meeting_id, people, dice), changes)

    return change


def _remove(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    people[0].post(f"{_somebody(meeting_id, people, dice)}/remove")


def _send_back(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    people[0].post(f"{_somebody(meeting_id, people, dice)}/send-to-waiting-room")


def _admit(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    people[0].post(f"/meetings/{meeting_id}/waiting-room/admit", {"all": True})


def _mute_all(world: World, meeting_id: str, people: list[Person], dice: random.Random) -> None:
    accepted = people[0].post(f"/meetings/{meeting_id}/mute-all")
    run_job(world.runtime, UpdateParticipants.name, accepted.data["job_id"])


CHANGES: dict[str, Change] = {
    **{f"{name} {value}": _flags(**{name: value})
       for name in ("is_muted", "is_video_enabled", "is_screen_sharing", "is_hand_raised") for value in (True, False)},
    "rename": _rename,
    "describe": _describe,
    "join": _join,
    "join anew": _join_anew,
    "leave": _leave,
    "chat": _chat,
    "rule": _rule,
    "promote": _moderate(role="co-host"),
    "demote": _moderate(role="attendee"),
    "mute": _moderate(is_muted=True),
    "silence": _moderate(can_publish=False),
    "no chat": _moderate(can_chat=False),
    "remove": _remove,
    "send back": _send_back,
    "admit": _admit,
    "mute all": _mute_all,
}  # fmt: skip


def meeting_with_people(world: World) -> tuple[str, list[Person]]:
    """Return a running meeting with its host and four others inside; the first two stay."""
    people = [world.person() for _ in range(5)]
    meeting_id = world.meeting(people[0])
    world.inside(meeting_id, *people)
    return meeting_id, people


@pytest.mark.parametrize("name", CHANGES)
def test_after_one_change(world: World, name: str) -> None:
    meeting_id, people = meeting_with_people(world)
    mirrors = [Mirror(person, meeting_id) for person in people[:2]]
    CHANGES[name](world, meeting_id, people, random.Random(1))
    for mirror in mirrors:
        mirror.check(name)


def test_after_many_random_changes(world: World, figures: Figures) -> None:
    sequences = 20 if is_short() else 1000
    for seed in range(sequences):
        dice = random.Random(seed)
        meeting_id, people = meeting_with_people(world)
        mirrors = [Mirror(person, meeting_id) for person in people[:2]]
        done = []
        for _ in range(dice.randint(1, 10)):
            name = dice.choice(list(CHANGES))
            CHANGES[name](world, meeting_id, people, dice)
            done.append(name)
        for mirror in mirrors:
            mirror.check(f"seed {seed}: {done}")
    figures(
        "P25",
        f"{len(CHANGES)} kinds of change, {sequences} random sequences",
        "snapshot + events = later snapshot, for host and attendee",
        different=0,
    )
