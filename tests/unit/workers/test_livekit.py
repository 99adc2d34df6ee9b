"""What was decided about a room is carried out at the LiveKit server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dev.process import free_port
from shared.core import outbox
from shared.core.outbox import MAX_ATTEMPTS
from shared.livekit import client
from shared.livekit.jobs import AlignParticipant, DeleteRoom
from shared.livekit.tokens import MediaGrant
from shared.participants import moderation
from shared.participants.leaving import leave
from shared.participants.media import PRESENT, SPEAK
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


# --- people


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What was asked of LiveKit; how it is asked stands in tests/unit/livekit."""
    calls: list[tuple[object, ...]] = []

    def remove(_: object, room: str, identity: str) -> None:
        calls.append(("remove", room, identity))

    def permit(_: object, grant: MediaGrant, *, is_muted: bool) -> None:
        calls.append(("permit", grant.room, grant.identity, grant.sources, is_muted))

    monkeypatch.setattr(client, "remove_participant", remove)
    monkeypatch.setattr(client, "set_permissions", permit)
    return calls


def jobs_of(runtime: Runtime, room: str) -> list[str]:
    with runtime.reading() as tx:
        rows = tx.all(outbox.outbox.select().order_by(outbox.outbox.c.id))
        return [row.id for row in rows if row.name == AlignParticipant.name and row.payload["room"] == room]


def test_what_a_host_takes_is_taken_at_livekit_and_what_is_late_changes_nothing(
    media: Runtime, scene: Scene, carried_out: list[tuple[object, ...]]
) -> None:
    host, ann = scene.user(), scene.user()
    room = scene.meeting(host)
    scene.join(room, host)
    seat = scene.join(room, ann).participant
    with media.transaction() as tx:
        moderation.change(tx, room, host, seat.id, {"is_muted": True})
    with media.transaction() as tx:
        moderation.change(tx, room, host, seat.id, {"can_publish": False})
    with media.transaction() as tx:
        moderation.remove(tx, room, host, seat.id, ban=False, reason=None)
    scene.join(room, ann)
    identity = seat.media_identity
    mute, silence, remove = jobs_of(media, room)
    for row_id in (remove, mute, silence, remove):
        run_job(media, AlignParticipant.name, row_id)
    # She came back under another identity: whoever still holds the old one is sent out, whatever the job was for.
    assert carried_out == [("remove", room, identity)] * 3


def test_rights_are_read_when_they_are_carried_out(
    media: Runtime, scene: Scene, carried_out: list[tuple[object, ...]]
) -> None:
    host, ann = scene.user(), scene.user()
    room = scene.meeting(host)
    scene.join(room, host)
    seat = scene.join(room, ann).participant
    with media.transaction() as tx:
        moderation.change(tx, room, host, seat.id, {"is_muted": True})
    (row_id,) = jobs_of(media, room)
    run_job(media, AlignParticipant.name, row_id)
    assert carried_out == [("permit", room, seat.media_identity, SPEAK + PRESENT, True)]


def test_a_worker_that_is_slow_does_not_undo_what_a_faster_one_has_carried_out(
    media: Runtime, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ann = scene.user(), scene.user()
    room = scene.meeting(host)
    scene.join(room, host)
    seat = scene.join(room, ann).participant
    allowed: list[tuple[str, ...]] = []
    meanwhile = [False]

    def change(*, can_publish: bool) -> str:
        with media.transaction() as tx:
            moderation.change(tx, room, host, seat.id, {"can_publish": can_publish})
        return jobs_of(media, room)[-1]

    def permit(_: object, grant: MediaGrant, *, is_muted: bool) -> None:
        if meanwhile:  # a right is taken, and another worker says so, while the first one's words are on their way
            run_job(media, AlignParticipant.name, change(can_publish=meanwhile.pop()))
        allowed.append(grant.sources)

    monkeypatch.setattr(client, "set_permissions", permit)
    change(can_publish=False)
    run_job(media, AlignParticipant.name, change(can_publish=True))
    assert allowed == [(), SPEAK + PRESENT, ()]


def test_without_livekit_there_is_no_such_job(scene: Scene, bench: Runtime) -> None:
    runtime = with_livekit_at(bench, "")
    host, ann = scene.user(), scene.user()
    room = scene.meeting(host)
    seat = scene.join(room, ann).participant
    with runtime.transaction() as tx:
        moderation.remove(tx, room, host, seat.id, ban=False, reason=None)
    assert jobs_of(bench, room) == []


def test_who_leaves_is_sent_out_of_the_media_room_too(
    media: Runtime, scene: Scene, carried_out: list[tuple[object, ...]]
) -> None:
    ann = scene.user()
    room = scene.meeting(scene.user())
    seat = scene.join(room, ann).participant
    with media.transaction() as tx:
        leave(tx, room, ann)
    (row_id,) = jobs_of(media, room)
    run_job(media, AlignParticipant.name, row_id)
    assert carried_out == [("remove", room, seat.media_identity)]
