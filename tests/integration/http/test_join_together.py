"""People who press join at the same time share transactions, and nobody is held up by a meeting that is (ADR 0012)."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.core.database import LOCK_TIMEOUT_SECONDS
from tests.factories.scene import change_place
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success
from tests.integration.http.crowds import Crowd, commits, gathering, held, waiting

KEY = {"Idempotency-Key": "the first time"}


def join(person: Person, meeting_id: str, **wish: Any) -> Callable[[], Answer]:
    return lambda: person.post(f"/meetings/{meeting_id}/join", wish)


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


def test_who_sends_a_key_enters_together_with_the_others_too(world: World) -> None:
    host, people = world.person(), [world.person() for _ in range(9)]
    meeting_id = world.meeting(host)
    join(host, meeting_id)()
    crowd = Crowd()
    with commits(world) as seen:
        with gathering(world, "join") as wait:
            for number, person in enumerate(people, 1):
                crowd.send(lambda person=person: person.post(f"/meetings/{meeting_id}/join", headers=KEY))  # type: ignore[misc]
                wait(number)
            before = seen[0]
        for answer, person in zip(crowd.answers(), people, strict=True):
            assert check_success(answer)["user_id"] == person.id
        assert seen[0] - before <= 2
    again = people[3].post(f"/meetings/{meeting_id}/join", headers=KEY)
    assert (again.headers["Idempotency-Replayed"], again.body) == ("true", crowd.answers()[3].body)
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
