"""What is tried: who does it, to whom, and with which rules; and by which lot that is decided."""

import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

from tests.machine.cast import PEOPLE
from tests.machine.words import Identity

T = TypeVar("T")
RIGHT, WRONG = "opensesame", "opensesamE"


class Lot(Protocol):
    """Decides what is done next."""

    def one(self, among: Sequence[T]) -> T:
        """Return one of these."""
        ...


class Drawn:
    """A lot that Hypothesis draws: it makes what it found as short as it can."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def one(self, among: Sequence[T]) -> T:
        """Return one of these."""
        return self._data.draw(st.sampled_from(among))


class Thrown:
    """A lot that is the same each time, and as even as dice."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def one(self, among: Sequence[T]) -> T:
        """Return one of these."""
        return self._dice.choice(among)


EVERYBODY = list(PEOPLE.values())
# Those who may, more often than not: or hardly anything would ever happen.
ACTORS = [PEOPLE["host"]] * 7 + [PEOPLE["deputy"]] * 5 + EVERYBODY
RULERS = [PEOPLE["host"]] * 10 + [PEOPLE["deputy"]] + EVERYBODY
FLAGS = ("is_muted", "is_video_enabled", "is_screen_sharing", "is_hand_raised")
RIGHTS = ("can_publish", "can_chat")
PASSCODES = (None, RIGHT, RIGHT, WRONG)
ROLES = ("host", "co-host", "attendee", "attendee")
EITHER, MOSTLY, SELDOM = (True, False), (True, True, True, False), (True, False, False, False, False, False)
OUT = ("left", "removed", "denied", "waiting")

# Changes of the rules of the door; those that shut people out are outnumbered by those that let them in.
AT_THE_DOOR: list[dict[str, Any]] = [
    {"require_waiting_room": True},
    {"require_waiting_room": False},
    {"require_password": True, "passcode": RIGHT},
    {"require_password": False},
    {"require_password": True},
    {"allow_anonymous_join": True},
    {"allow_anonymous_join": True},
    {"allow_anonymous_join": False},
    {"max_participants": 1},
    {"max_participants": 3},
    {"max_participants": 100},
    {"allowed_domains": ["in.com"]},
    {"allowed_domains": []},
    {"blocked_users": ["eve"]},
    {"blocked_users": ["ann", "bob", "ina"]},
    {"blocked_users": ["deputy"]},
    {"blocked_users": []},
    {"join_approval_mode": "manual"},
    {"join_approval_mode": "domain_restricted"},
    {"join_approval_mode": "automatic"},
    {"lock_meeting": True},
    {"lock_meeting": True},
    {"lock_meeting": False},
    {"lock_meeting": False},
    {"mute_on_entry": True},
]
INSIDE: list[dict[str, Any]] = [
    {"disable_camera": True},
    {"disable_camera": False},
    *({f"enable_{what}": is_on} for what in ("reactions", "hand_raise") for is_on in (False, True)),
    *({f"{what}_permissions": who} for what in ("chat", "screen_share") for who in ("host", "none", "all")),
]
# How a meeting begins: beside the open one those in which several rules must hold together.
SCENES: list[dict[str, Any]] = [
    {},
    {"allow_anonymous_join": True},
    {"allow_anonymous_join": True, "max_participants": 2},
    {"require_waiting_room": True, "max_participants": 1},
    {"require_waiting_room": True, "allow_anonymous_join": True},
    {"lock_meeting": True},
    {"require_password": True, "passcode": RIGHT},
    {"require_password": True, "passcode": RIGHT, "join_approval_mode": "manual", "allow_anonymous_join": True},
    {"allowed_domains": ["IN.com", "out.com"]},
    {"allowed_domains": ["in.com"], "join_approval_mode": "domain_restricted", "max_participants": 2},
]


def some_people(lot: Lot, most: int) -> list[Identity]:
    """Draw up to so many different people."""
    return list(dict.fromkeys(lot.one(EVERYBODY) for _ in range(most)))
