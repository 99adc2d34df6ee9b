"""People who press join at the same time share transactions, and nobody is held up by a meeting that is (ADR 0012)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from shared.core.database import LOCK_TIMEOUT_SECONDS
from shared.meetings.queries import lock_meeting
from tests.factories.scene import change_place
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success

LONG = 30.0


class Crowd:
    """Requests that are on their way."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._answers: dict[int, Answer] = {}

    def send(self, call: Callable[[], Answer]) -> None:
        """Send a request, and do not wait for its answer."""
        number = len(self._threads)
        thread = threading.Thread(target=lambda: self._answers.update({number: call()}), daemon=True)
        self._threads.append(thread)
        thread.start()

    def answers(self) -> list[Answer]:
        """Wait for all answers, and return them in the order of their requests."""
        for thread in self._threads:
            thread.join(LONG)
        return [self._answers[number] for number in range(len(self._threads))]


@contextmanager
def held(world: World, meeting_id: str) -> Iterator[None]:
    """Have the meeting's row locked by somebody else."""
    with world.runtime.transaction() as tx:
        lock_meeting(tx, meeting_id)
        yield


@contextmanager
def commits(world: World) -> Iterator[list[int]]:
    """Count the commits meanwhile."""
    seen = [0]

    def count(_connection: Any) -> None:
        seen[0] += 1

    event.listen(world.runtime.database.engine, "commit", count)
    try:
        yield seen
    finally:
        event.remove(world.runtime.database.engine, "commit", count)


def join(person: Person, meeting_id: str, **wish: Any) -> Callable[[], Answer]:
    return lambda: person.post(f"/meetings/{meeting_id}/join", wish)


def waiting(world: World, count: int) -> None:
    """Wait until so many requests wait for a meeting that somebody holds."""
    in_turn = world.app.extensions["parley-sharing"]["POST /api/v1/meetings/<meeting_id>/join"]._in_turn
    until = time.monotonic() + LONG
    while sum(1 + len(queue) for queue in list(in_turn._waiting.values())) < count:
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.postgres_only
def test_who_waits_for_the_same_meeting_enters_together(world: World) -> None:
    host, people = world.person(), [world.person() for _ in range(9)]
    meeting_id = world.meeting(host)
    join(host, meeting_id)()
    crowd = Crowd()
    with commits(world) as seen:
        with held(world, meeting_id):
            for person in people:
                crowd.send(join(person, meeting_id))
            waiting(world, len(people))
            before = seen[0]
        for answer, person in zip(crowd.answers(), people, strict=True):
            assert check_success(answer)["user_id"] == person.id
    # Who holds it ends; the first who waits is alone, and the rest are one transaction.
    assert seen[0] - before <= 3
    events = host.get(f"/meetings/{meeting_id}/events").data
    joined = [one["data"]["user_id"] for one in events if one["type"] == "join"]
    assert sorted(joined) == sorted([host.id, *(person.id for person in people)])
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 10


@pytest.mark.postgres_only
def test_f16_a_meeting_that_is_held_up_holds_up_no_join_to_another_one(world: World) -> None:
    host, people = world.person(), [world.person() for _ in range(4)]
    stuck, free = world.meeting(host), world.meeting(host)
    crowd = Crowd()
    with held(world, stuck):
        for person in people:
            crowd.send(join(person, stuck))
        join(host, free)()  # the first one makes what is looked at next
        waiting(world, len(people))
        for person in people:
            check_success(join(person, free)())
    assert [answer.status for answer in crowd.answers()] == [200] * 4


@pytest.mark.postgres_only
def test_f16_who_wants_into_a_meeting_that_stays_held_is_told_so_after_one_wait(world: World) -> None:
    host, people = world.person(), [world.person() for _ in range(6)]
    meeting_id = world.meeting(host)
    join(host, world.meeting(host))()
    crowd = Crowd()
    with held(world, meeting_id):
        began = time.monotonic()
        for person in people:
            crowd.send(join(person, meeting_id))
        waiting(world, len(people))
        for answer in crowd.answers():
            check_failure(answer, 503, "SERVICE_UNAVAILABLE")
        assert time.monotonic() - began < 2 * LOCK_TIMEOUT_SECONDS  # all waited for the same thing, at the same time
    check_success(join(people[0], meeting_id)())


@pytest.mark.postgres_only
def test_each_of_those_who_come_together_gets_an_answer_of_their_own(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={"max_participants": 2})
    first, blocked, gone, nameless, second, late = (world.person() for _ in range(6))
    place = check_success(join(blocked, meeting_id)())["participant_id"]
    blocked.post(f"/meetings/{meeting_id}/leave")
    change_place(world.runtime, place, status="removed", is_banned=True)
    gone.post("/auth/logout")
    crowd = Crowd()
    with held(world, meeting_id):
        for expected, call in (
            (1, join(first, meeting_id)),
            (2, join(blocked, meeting_id)),
            (2, join(gone, meeting_id)),
            (2, join(nameless, meeting_id, display_name=7)),
            (3, join(second, meeting_id, device_type="tv")),
            (4, join(late, meeting_id)),
        ):
            crowd.send(call)
            waiting(world, expected)
    outcomes = [200, "USER_BLOCKED", "TOKEN_REVOKED", "VALIDATION_ERROR", 200, "MAX_PARTICIPANTS_REACHED"]
    for answer, outcome in zip(crowd.answers(), outcomes, strict=True):
        if outcome == 200:
            check_success(answer)
        else:
            check_failure(answer, answer.status, str(outcome))
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 2
