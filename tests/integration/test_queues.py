"""`flask parley queues`: an operator sees what waits and what was given up, and has it done after all."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result

from shared.core import outbox
from shared.core.ids import new_id
from shared.core.messages import Job
from shared.core.outbox import MAX_ATTEMPTS
from shared.core.queue import LANES
from shared.livekit.jobs import DeleteRoom
from shared.participants.jobs import UpdateParticipants
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.factories.scene import UNKNOWN
from web.app import create_app

MINUTE = timedelta(minutes=1)


@pytest.fixture
def own(runtime: Runtime, tmp_path: Path) -> Iterator[Runtime]:
    with on_own_database(runtime, tmp_path) as moved:
        yield moved


def put(runtime: Runtime, *jobs: Job, age: timedelta = MINUTE) -> list[str]:
    """Write jobs that were decided a while ago; return the ids of their rows."""
    with runtime.transaction() as tx:
        return [e.id for e in outbox.write(tx.connection, {new_id(): job for job in jobs}, tx.now - age)]


def give_up(runtime: Runtime, row_id: str, why: str) -> None:
    """Let a row fail as often as it may."""
    for _ in range(MAX_ATTEMPTS):
        with runtime.transaction() as tx:
            claimed = outbox.claim(tx.connection, row_id, DeleteRoom.name, tx.now)
            assert claimed is not None
            outbox.fail(tx.connection, claimed, why, tx.now)


def ask(runtime: Runtime, *words: str) -> Result:
    return create_app(runtime).test_cli_runner().invoke(args=["parley", "queues", *words])


def lanes(told: Result) -> dict[str, list[str]]:
    """Return the table by lane: pending, running, the oldest's seconds, dead."""
    lines = [line.replace(" s ", " ").split() for line in told.output.splitlines()[1:5]]
    return {name: figures for name, *figures in lines}


def test_each_lane_says_how_much_waits_and_runs_and_for_how_long(own: Runtime) -> None:
    put(own, DeleteRoom(room="new"))
    running, _ = put(own, DeleteRoom(room="a"), DeleteRoom(room="b"), age=5 * MINUTE)
    (done,) = put(own, UpdateParticipants(job_id=UNKNOWN), age=9 * MINUTE)
    with own.transaction() as tx:
        outbox.claim(tx.connection, running, DeleteRoom.name, tx.now)
        outbox.claim(tx.connection, done, UpdateParticipants.name, tx.now)
        assert outbox.finish(tx.connection, done, tx.now)

    told = ask(own)

    assert told.exit_code == 0
    figures = lanes(told)
    assert list(figures) == ["fast", "default", "media", "maintenance"]
    assert figures["default"] == ["0", "0", "0", "0"]
    pending, at_work, oldest, dead = figures["media"]
    assert (pending, at_work, dead) == ("2", "1", "0")
    assert 300 <= int(oldest) < 330


def test_a_dead_letter_is_shown_with_its_reason_and_counts_as_no_waiting_one(own: Runtime) -> None:
    first, second = put(own, DeleteRoom(room="a"), DeleteRoom(room="b"))
    give_up(own, first, "RuntimeError: no\nsecond line")
    give_up(own, second, "RuntimeError: never")

    told = ask(own)

    assert lanes(told)["media"] == ["0", "0", "0", "2"]
    letters = told.output.splitlines()[len(LANES) + 1 :]
    assert [line.split()[0] for line in letters] == [second, first]
    assert letters[1].split("  ")[1:3] == ["media", "livekit.delete_room"]
    assert letters[1].endswith("  RuntimeError: no")
    assert len(ask(own, "--dead", "1").output.splitlines()) == len(LANES) + 2


def test_what_is_requeued_is_sent_again_with_all_its_attempts(own: Runtime) -> None:
    one, other = put(own, DeleteRoom(room="a"), DeleteRoom(room="b"))
    give_up(own, one, "no")
    give_up(own, other, "no")

    told = ask(own, "requeue", one)

    assert (told.exit_code, told.output.splitlines()[0]) == (0, f"requeued {one}")
    assert lanes(ask(own))["media"][0::3] == ["1", "1"]
    with own.transaction() as tx:
        assert [errand.id for errand in outbox.due(tx.connection, tx.now)] == [one]
        claimed = outbox.claim(tx.connection, one, DeleteRoom.name, tx.now)
    assert claimed is not None
    assert (claimed.attempt, claimed.payload) == (1, {"room": "a"})


def test_all_dead_letters_are_requeued_and_nothing_else_is_touched(own: Runtime) -> None:
    *dead, waiting = put(own, *(DeleteRoom(room=str(number)) for number in range(3)))
    for row_id in dead:
        give_up(own, row_id, "no")
    with own.reading() as tx:
        before = tx.all(outbox.outbox.select().where(outbox.outbox.c.id == waiting))

    told = ask(own, "requeue", "--all-dead")

    assert told.exit_code == 0
    assert {line.split()[1] for line in told.output.splitlines()[:2]} == set(dead)
    assert lanes(ask(own))["media"][3] == "0"
    with own.reading() as tx:
        assert tx.all(outbox.outbox.select().where(outbox.outbox.c.id == waiting)) == before
    assert ask(own, "requeue", "--all-dead").output.startswith("0 requeued")


def test_what_is_no_dead_letter_is_named_and_the_others_go(own: Runtime) -> None:
    dead, waiting = put(own, DeleteRoom(room="a"), DeleteRoom(room="b"))
    give_up(own, dead, "no")

    told = ask(own, "requeue", dead, waiting, UNKNOWN)

    assert told.exit_code == 1
    assert f"requeued {dead}" in told.output
    assert f"No dead letter: {', '.join(sorted([waiting, UNKNOWN]))}" in told.output


@pytest.mark.parametrize("words", [(), (UNKNOWN, "--all-dead")])
def test_either_ids_or_all_must_be_meant(own: Runtime, words: tuple[str, ...]) -> None:
    (row_id,) = put(own, DeleteRoom(room="a"))
    give_up(own, row_id, "no")
    told = ask(own, "requeue", *words)
    assert told.exit_code == 2
    assert lanes(ask(own))["media"][3] == "1"
