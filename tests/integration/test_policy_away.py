"""Rules that cannot be read let nobody in and nothing through (S47)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text

from shared.core.settings import Settings
from shared.policies.models import policies
from shared.runtime import Runtime, build_runtime
from tests.factories.database import own_database
from tests.factories.world import Person, World
from tests.integration.http.answers import check_failure
from web.app import create_app


@pytest.fixture
def other_process(settings: Settings, database_url: str, tmp_path: Path) -> Iterator[Callable[[], World]]:
    """Make worlds on one database that have read nothing yet, as a process that was just started."""
    made: list[Runtime] = []
    with own_database(database_url, tmp_path) as url:

        def make() -> World:
            made.append(build_runtime(replace(settings, database_url=url, redis_url="redis://127.0.0.1:1/0")))
            return World(create_app(made[-1]), made[-1])

        yield make
        for runtime in made:
            runtime.database.dispose()


def moved(person: Person, world: World) -> Person:
    """Return the same person at another process."""
    return Person(world.app.test_client(), person.token, person.actor, person.email)


def lose_the_table(world: World) -> None:
    """Have every statement on policies fail in the database."""
    with world.runtime.transaction() as tx:
        tx.execute(text("ALTER TABLE policies RENAME TO policies_that_were"))


def find_the_table(world: World) -> None:
    with world.runtime.transaction() as tx:
        tx.execute(text("ALTER TABLE policies_that_were RENAME TO policies"))


@pytest.mark.parametrize("how", ["the statement fails", "the row is gone"])
def test_s47_when_the_policy_cannot_be_read_nobody_enters_and_nothing_passes(
    other_process: Callable[[], World], how: str
) -> None:
    world = other_process()
    host, inside, outside = (world.person() for _ in range(3))
    meeting_id = world.meeting(host, policy={"allow_anonymous_join": True})
    world.inside(meeting_id, host, inside)
    path = f"/meetings/{meeting_id}"
    tries: list[tuple[Person, str, str, Any]] = [
        (outside, "POST", "/join", {}),
        (host, "POST", "/join", {}),
        (inside, "POST", "/chat", {"content": "hello"}),
        (inside, "POST", "/reactions", {"reaction_type": "wave"}),
        (inside, "PUT", "/participants/status", {"is_hand_raised": True}),
        (inside, "PUT", "/participants/status", {"is_screen_sharing": True}),
        (inside, "POST", "/token", {}),
        (outside, "GET", "/card", None),
        (host, "PATCH", "/security/policy", {"lock_meeting": False}),
    ]
    before = state(world, meeting_id, host)
    if how == "the row is gone":
        with world.runtime.transaction() as tx:
            tx.execute(delete(policies).where(policies.c.meeting_id == meeting_id))
    else:
        lose_the_table(world)
    blind = other_process()
    for person, method, rest, body in tries:
        answer = moved(person, blind).call(method, path + rest, body)
        assert answer.status in (500, 503), (method, rest, answer.status, answer.body)
        assert "policies" not in str(answer.body)
    assert blind.nobody().post(f"{path}/join", {"display_name": "Gus"}).status in (500, 503)
    assert state(world, meeting_id, host) == before
    if how == "the row is gone":
        return
    find_the_table(world)
    seeing = other_process()
    for person, method, rest, body in tries:
        assert moved(person, seeing).call(method, path + rest, body).status in (200, 201), (method, rest)


def state(world: World, meeting_id: str, host: Person) -> tuple[Any, ...]:
    """Return who is there and what was told, as the host sees it."""
    people = host.get(f"/meetings/{meeting_id}/participants").data
    return people, host.get(f"/meetings/{meeting_id}/events?limit=200").data


def test_s47_a_failure_of_the_policy_is_told_as_any_other(other_process: Callable[[], World]) -> None:
    world = other_process()
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    with world.runtime.transaction() as tx:
        tx.execute(delete(policies).where(policies.c.meeting_id == meeting_id))
    answer = moved(ada, other_process()).post(f"/meetings/{meeting_id}/join")
    check_failure(answer, 500, "INTERNAL_ERROR")
