"""Meetings whose time is over, and meetings about to begin."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import redis
from sqlalchemy import event

from shared.core import outbox
from shared.core.database import LockTimeout
from shared.core.outbox import Errand
from shared.meetings import service as meetings
from shared.meetings.jobs import PrewarmMeeting
from shared.meetings.queries import SOON, soon_and_running
from shared.policies import cache as policy_cache
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from workers import meetings as workers_meetings
from workers.meetings import end_overdue, prewarm
from workers.task import run_job

pytestmark = pytest.mark.usefixtures("alone")


def with_deadline(scene: Scene, minutes: int) -> str:
    meeting_id = scene.meeting(scene.user())
    with scene.runtime.transaction() as tx:
        meetings.set_deadline(tx, meeting_id, tx.now + timedelta(minutes=minutes))
    return meeting_id


def test_a_meeting_over_its_time_ends_and_everybody_is_told(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    meeting_id = with_deadline(scene, 30)
    person = scene.join(meeting_id, scene.user()).participant
    clock.pass_(minutes=30, milliseconds=-1)
    assert end_overdue(bench) == 0

    clock.pass_(milliseconds=1)
    assert end_overdue(bench) == 1

    ended = scene.state(meeting_id)
    assert (ended.status, ended.ended_by, ended.ended_at, ended.seats_taken) == ("completed", None, clock.now(), 0)
    assert scene.participant(meeting_id, person.id).status == "left"
    assert scene.told(meeting_id)[-1] == "meeting_status"
    with bench.reading() as tx:
        rooms = [row.payload["room"] for row in tx.all(outbox.outbox.select()) if row.name == "livekit.delete_room"]
    assert rooms.count(meeting_id) == 1
    assert end_overdue(bench) == 0


def test_the_policy_sets_the_deadline_at_the_start(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    meeting_id = scene.meeting(scene.user(), policy={"meeting_duration_minutes": 45})
    endless = scene.meeting(scene.user())
    clock.pass_(minutes=45)

    assert end_overdue(bench) == 1
    assert scene.state(meeting_id).status == "completed"
    assert scene.state(endless).status == "in_progress"


def test_a_meeting_that_somebody_ended_meanwhile_is_no_error(
    bench: Runtime, scene: Scene, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced, other = with_deadline(scene, 1), with_deadline(scene, 2)
    clock.pass_(minutes=2)
    monkeypatch.setattr(meetings, "overdue", lambda _tx: [raced, other])
    scene.end(raced)

    assert end_overdue(bench) == 1
    assert scene.state(other).status == "completed"


@pytest.mark.parametrize("trouble", [LockTimeout(), RuntimeError("a bug")])
def test_a_meeting_that_cannot_be_ended_now_does_not_keep_the_others_running(
    bench: Runtime, scene: Scene, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog, trouble: Exception
) -> None:
    stuck, other = with_deadline(scene, 1), with_deadline(scene, 2)
    clock.pass_(minutes=2)
    really_end = meetings.end

    def end(tx, meeting_id, actor_id):
        if meeting_id == stuck:
            raise trouble
        return really_end(tx, meeting_id, actor_id)

    monkeypatch.setattr(meetings, "end", end)
    assert end_overdue(bench) == 1
    assert scene.state(other).status == "completed"

    monkeypatch.setattr(meetings, "end", really_end)
    assert end_overdue(bench) == 1


@contextmanager
def statements(runtime: Runtime) -> Iterator[list[str]]:
    """Note the statements that are sent to the database."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_) -> None:
        seen.append(statement)

    event.listen(runtime.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(runtime.database.engine, "before_cursor_execute", note)


def in_valkey(runtime: Runtime, meeting_id: str) -> dict | None:
    runtime.tools.cache._absent.clear()  # as a process that has not asked for it yet
    return runtime.tools.cache.fetch(policy_cache.KIND, meeting_id)


def test_policies_of_running_and_coming_meetings_are_laid_into_valkey(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    host = scene.user()

    def coming(minutes: int, **wishes: object) -> str:
        return scene.meeting(host, start=False, scheduled_start=clock.now() + timedelta(minutes=minutes), **wishes)

    running = scene.meeting(host, policy={"max_participants": 7})
    soon, late, far, missed = coming(10), coming(-10), coming(11), coming(-11)
    unplanned, over = scene.meeting(host, start=False), scene.meeting(host)
    scene.end(over)

    assert prewarm(bench) == 3

    found = in_valkey(bench, running)
    assert found is not None
    assert (found["max_participants"], found["version"]) == (7, 1)
    assert in_valkey(bench, soon) is not None
    assert in_valkey(bench, late) is not None
    assert [in_valkey(bench, each) for each in (far, missed, unplanned, over)] == [None] * 4
    assert timedelta(minutes=10) == SOON


def test_a_prewarmed_policy_saves_a_process_that_never_saw_the_meeting_the_query(bench: Runtime, scene: Scene) -> None:
    meeting_id = scene.meeting(scene.user())
    prewarm(bench)
    cache = bench.tools.cache
    cache._entries.clear()  # a process that has just begun

    policy_cache.warm(cache, meeting_id)
    with statements(bench) as seen, bench.reading() as tx:
        meeting = scene.state(meeting_id)
        before = len(seen)
        assert policy_cache.get_policy(tx, meeting).meeting_id == meeting_id
        assert len(seen) == before


def prewarmings(queue: FakeQueue) -> list[Errand]:
    return [errand for errand in queue.dispatched if errand.name == PrewarmMeeting.name]


def test_the_start_of_a_meeting_lays_its_policy_into_valkey(bench: Runtime, scene: Scene, queue: FakeQueue) -> None:
    host = scene.user()
    meeting_id = scene.meeting(host, start=False, policy={"max_participants": 7})
    assert prewarmings(queue) == []
    with bench.transaction() as tx:
        meetings.start(tx, meeting_id, host)
    (errand,) = prewarmings(queue)
    assert in_valkey(bench, meeting_id) is None

    with statements(bench) as seen:
        assert run_job(bench, PrewarmMeeting.name, errand.id) == "done"
    found = in_valkey(bench, meeting_id)
    assert found is not None
    assert found["max_participants"] == 7
    assert sum("FROM policies" in statement for statement in seen) == 1


def test_a_start_without_valkey_is_no_job_that_failed(
    bench: Runtime, scene: Scene, queue: FakeQueue, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    def away(*_: object) -> None:
        raise redis.ConnectionError("nobody is there")

    monkeypatch.setattr(bench.tools.cache, "store", away)
    scene.meeting(scene.user())
    (errand,) = prewarmings(queue)
    assert run_job(bench, PrewarmMeeting.name, errand.id) == "done"
    assert [record.message for record in caplog.records] == ["meeting_not_prewarmed"]


def test_prewarming_many_meetings_takes_no_more_statements_than_prewarming_one(bench: Runtime, scene: Scene) -> None:
    host = scene.user()
    counts = []
    for more in (1, 20):
        for _ in range(more):
            scene.meeting(host)
        with statements(bench) as seen:
            prewarm(bench)
        counts.append(sum(statement.lstrip().startswith("SELECT") for statement in seen))

    assert counts == [3, 3]  # ids, policies, and the look for more


def test_prewarming_goes_on_where_one_query_ends(bench: Runtime, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    really = soon_and_running
    monkeypatch.setattr(workers_meetings, "soon_and_running", lambda tx, after: really(tx, after, limit=2))
    host = scene.user()
    ids = [scene.meeting(host) for _ in range(5)]

    assert prewarm(bench) == 5
    assert all(in_valkey(bench, meeting_id) for meeting_id in ids)
