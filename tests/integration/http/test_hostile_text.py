"""Text made to keep a regular expression busy is judged at once, whatever field it stands in (S94)."""

import time
from typing import Any

import pytest

from tests.factories.world import Person, World

SECONDS = 0.05  # of this thread's own work: what the machine does beside it does not count
LENGTH = 50_000
KILLERS = {
    "mentions": "a@" * (LENGTH // 2),
    "parentheses": "(" * LENGTH,
    "markdown": "*_~`" * (LENGTH // 4),
    "brackets": "[](" * (LENGTH // 3),
    "domains": "a@" + "a." * (LENGTH // 2),
    "hyphens": "a@a" + "-" * LENGTH,
    "addresses": "http://" + "a.-" * (LENGTH // 3),
    "quoted": '"' + "\\" * LENGTH,
    "spaces": " " * LENGTH + "x" + " " * LENGTH,
    "lines": "\n\t" * (LENGTH // 2),
    "joiners": "\u200d" * LENGTH,
    "accents": "e\u0301" * (LENGTH // 2),
    "marks": "a" + "\u0301" * LENGTH,
    "escapes": "\\u0000" * (LENGTH // 6),
    "dates": "2026-01-01T" + "0" * LENGTH,
}
# Where text comes in, and how much of it is let through.
DOORS: list[tuple[str, str, str, int, dict[str, Any]]] = [
    ("POST", "/chat", "content", 4000, {}),
    ("POST", "/chat", "content", 4000, {"message_type": "link"}),
    ("PATCH", "/chat/message", "content", 4000, {}),
    ("POST", "/join", "display_name", 100, {}),
    ("POST", "/waiting-room/message", "text", 1000, {}),
    ("PATCH", "", "title", 200, {}),
    ("PATCH", "", "description", 5000, {}),
    ("PATCH", "", "scheduled_start", 40, {}),
    ("PATCH", "", "time_zone", 40, {}),
    ("POST", "//auth/register", "email", 254, {"name": "A", "password": "correct horse battery"}),
    ("POST", "//auth/register", "name", 100, {"email": "a@example.com", "password": "short"}),
]


@pytest.fixture
def meeting_id(world: World, host: Person) -> str:
    made = world.meeting(host)
    world.inside(made, host)
    return made


@pytest.mark.parametrize("killer", KILLERS)
def test_s94_no_text_takes_longer_than_fifty_milliseconds(world: World, host: Person, meeting_id: str, killer: str):
    said = host.post(f"/meetings/{meeting_id}/chat", {"content": "hello"}).data["message_id"]
    slow = {}
    for method, rest, field, cap, others in DOORS:
        path = (
            rest[1:]
            if rest.startswith("//")
            else f"/meetings/{meeting_id}{rest.replace('message', said) if rest == '/chat/message' else rest}"
        )
        for text in (KILLERS[killer], KILLERS[killer][:cap], KILLERS[killer][: cap - 1] + "!"):
            seconds = min(_work(host, method, path, {**others, field: text}) for _ in range(2))
            if seconds > SECONDS:
                slow[(method, rest, field, len(text))] = seconds
    assert slow == {}


def _work(person: Person, method: str, path: str, body: dict[str, Any]) -> float:
    began = time.thread_time()
    answer = person.call(method, path, body)
    seconds = time.thread_time() - began
    assert answer.status in (200, 201, 400, 422), answer.body
    return seconds
