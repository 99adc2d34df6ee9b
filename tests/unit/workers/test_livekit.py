"""What was decided about a room is carried out at the LiveKit server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dev.process import free_port
from shared.core import outbox
from shared.core.outbox import MAX_ATTEMPTS
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from tests.fakes.twirp import FakeTwirp
from workers import app  # noqa: F401  registers every task
from workers.task import run_job


@pytest.fixture
def livekit() -> Iterator[FakeTwirp]:
    with FakeTwirp() as server:
        yield server


@pytest.fixture
def media(bench: Runtime, livekit: FakeTwirp) -> Runtime:
    """The runtime, with a LiveKit server that is there."""
    return with_livekit_at(bench, livekit.url)


def with_livekit_at(runtime: Runtime, url: str) -> Runtime:
    settings = replace(runtime.settings, livekit_url=url)
    return replace(runtime, settings=settings, tools=replace(runtime.tools, settings=settings))


def put(runtime: Runtime, room: str) -> str:
    with runtime.transaction() as tx:
        tx.enqueue(DeleteRoom(room=room))
    return tx.errands[0].id


def state_of(runtime: Runtime, row_id: str) -> tuple[str, int]:
    with runtime.reading() as tx:
        row = tx.first(outbox.outbox.select().where(outbox.outbox.c.id == row_id))
    assert row is not None
    return row.state, row.attempts


def test_the_room_of_an_ended_meeting_is_deleted(media: Runtime, scene: Scene, livekit: FakeTwirp) -> None:
    meeting_id = scene.meeting(scene.user())
    scene.end(meeting_id)
    with media.reading() as tx:
        (row_id,) = [
            row.id for row in tx.all(outbox.outbox.select()) if row.payload == DeleteRoom(room=meeting_id).payload()
        ]

    assert run_job(media, "livekit.delete_room", row_id) == "done"
    assert livekit.deleted == [meeting_id]


def test_a_room_that_is_gone_is_fine(media: Runtime, livekit: FakeTwirp) -> None:
    livekit.error = (404, "not_found")
    row_id = put(media, "gone")

    assert run_job(media, "livekit.delete_room", row_id) == "done"
    assert state_of(media, row_id) == ("done", 1)


@pytest.mark.parametrize("error", [(500, "internal"), (503, "unavailable"), (401, "unauthenticated")])
def test_a_server_in_trouble_is_asked_again(
    media: Runtime, livekit: FakeTwirp, clock: FakeClock, caplog, error: tuple[int, str]
) -> None:
    livekit.error = error
    row_id = put(media, "r")
    assert run_job(media, "livekit.delete_room", row_id) == "retry"

    livekit.error = None
    clock.pass_(seconds=2)
    assert run_job(media, "livekit.delete_room", row_id) == "done"
    assert livekit.deleted == ["r", "r"]


def test_a_server_that_stays_away_leaves_a_dead_letter(bench: Runtime, clock: FakeClock, caplog) -> None:
    nobody = with_livekit_at(bench, f"ws://127.0.0.1:{free_port()}")
    row_id = put(nobody, "r")
    outcomes = []
    for _ in range(MAX_ATTEMPTS):
        outcomes.append(run_job(nobody, "livekit.delete_room", row_id))
        clock.pass_(minutes=10)

    assert outcomes == ["retry"] * (MAX_ATTEMPTS - 1) + ["dead"]
    assert state_of(bench, row_id) == ("dead", MAX_ATTEMPTS)


def test_a_server_that_never_answers_costs_a_bounded_time(
    bench: Runtime, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    import socket

    monkeypatch.setattr("shared.livekit.client.CALL_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        media = with_livekit_at(bench, f"ws://127.0.0.1:{silent.getsockname()[1]}")

        assert run_job(media, "livekit.delete_room", put(media, "r")) == "retry"
