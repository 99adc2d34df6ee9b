"""Two web processes on one database, and a crowd that asks them for something at the same moment.

`PARLEY_RACE_ROUNDS` says how often each race is run; what must hold, must hold every time.
"""

import os
from collections import Counter
from typing import Any

import pytest

from shared.participants.entering import seats_in_use
from tests.factories.world import Person, World
from tests.stack import Stack
from tests.volley import Hit, Shot

ROUNDS = int(os.environ.get("PARLEY_RACE_ROUNDS", "3"))
CAPACITY, CROWD, CALLERS = 50, 200, 30

races = [pytest.mark.timeout(120), pytest.mark.parametrize("round_", range(1, ROUNDS + 1))]


class Arena:
    """Two web processes, and a world whose people are known to both."""

    def __init__(self, stack: Stack, world: World) -> None:
        self.stack = stack
        self.world = world
        self.crowd = [world.person() for _ in range(CROWD)]

    def shots(self, people: list[Person], path: str, *, method: str = "POST", body: Any = None) -> list[Shot]:
        """Return one request of each person, to one process and the other in turn."""
        return [Shot(self.stack.url_of(n % 2), person.token, path, method, body) for n, person in enumerate(people)]

    def seats(self, meeting_id: str) -> int:
        with self.world.runtime.reading() as tx:
            return seats_in_use(tx, meeting_id)


def outcomes(hits: list[Hit]) -> Counter[str]:
    """Return how often each answer came: `200`, or the code of a refusal."""
    return Counter(str(hit.status) if hit.status < 400 else str(hit.code) for hit in hits)


def events(person: Person, meeting_id: str, stream: str = "meeting") -> list[dict[str, Any]]:
    """Return a stream, after checking that it has no hole (I1)."""
    found: list[dict[str, Any]] = []
    path = f"/meetings/{meeting_id}/events?stream={stream}&limit=200&after_seq="
    while len(page := person.get(f"{path}{len(found)}").data):
        found += page
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    return found


def told(person: Person, meeting_id: str, stream: str = "meeting") -> list[str]:
    """Return a stream as words."""
    return [event["data"].get("action", event["type"]) for event in events(person, meeting_id, stream)]


def joined(person: Person, meeting_id: str) -> list[str]:
    listed = person.get(f"/meetings/{meeting_id}/participants?status=joined&limit=200")
    assert listed.body["pagination"]["next_cursor"] is None
    return [p["user_id"] for p in listed.data]
