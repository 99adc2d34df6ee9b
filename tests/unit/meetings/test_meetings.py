"""The life of a meeting, step by step, and what no step may do."""

from datetime import timedelta
from typing import Any

import pytest

from shared.core.errors import ValidationFailed
from shared.core.ids import new_id
from shared.core.ledger import StreamClosed
from shared.core.streams import meeting_stream
from shared.identity.actor import Actor
from shared.meetings import queries, service
from shared.meetings.errors import (
    InvalidMeetingState,
    MeetingAlreadyActive,
    MeetingEnded,
    MeetingNotActive,
    MeetingNotFound,
)
from shared.meetings.events import MeetingChanged
from shared.meetings.models import CANCELLED, COMPLETED, IN_PROGRESS, SCHEDULED
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene
from tests.fakes.clock import FakeClock


def at(scene: Scene, state: str) -> tuple[str, Actor]:
    """Return a meeting in a state, and its host."""
    host = scene.user()
    meeting_id = scene.meeting(host, start=state in (IN_PROGRESS, COMPLETED))
    with scene.runtime.transaction() as tx:
        if state == COMPLETED:
            service.end(tx, meeting_id, host.user_id)
        elif state == CANCELLED:
            service.cancel(tx, meeting_id, host)
    return meeting_id, host


STEPS = {
    "start": lambda tx, meeting_id, host: service.start(tx, meeting_id, host),
    "end": lambda tx, meeting_id, host: service.end(tx, meeting_id, host.user_id),
    "cancel": lambda tx, meeting_id, host: service.cancel(tx, meeting_id, host),
    "retitle": lambda tx, meeting_id, host: service.change(tx, meeting_id, host, {"title": "New"}),
    "reschedule": lambda tx, meeting_id, host: service.change(tx, meeting_id, host, {"time_zone": "Europe/Paris"}),
}


@pytest.mark.parametrize(
    ("state", "step", "outcome"),
    [
        (SCHEDULED, "start", IN_PROGRESS),
        (SCHEDULED, "end", MeetingNotActive),
        (SCHEDULED, "cancel", CANCELLED),
        (SCHEDULED, "retitle", SCHEDULED),
        (SCHEDULED, "reschedule", SCHEDULED),
        (IN_PROGRESS, "start", MeetingAlreadyActive),
        (IN_PROGRESS, "end", COMPLETED),
        (IN_PROGRESS, "cancel", InvalidMeetingState),
        (IN_PROGRESS, "retitle", IN_PROGRESS),
        (IN_PROGRESS, "reschedule", InvalidMeetingState),
        (COMPLETED, "start", MeetingEnded),
        (COMPLETED, "end", MeetingEnded),
        (COMPLETED, "cancel", MeetingEnded),
        (COMPLETED, "retitle", MeetingEnded),
        (CANCELLED, "start", InvalidMeetingState),
        (CANCELLED, "end", InvalidMeetingState),
        (CANCELLED, "cancel", InvalidMeetingState),
        (CANCELLED, "retitle", InvalidMeetingState),
    ],
)
def test_p6_every_step_from_every_state_leads_on_or_is_refused_without_a_trace(
    timed: Runtime, state: str, step: str, outcome: Any
) -> None:
    scene = Scene(timed)
    meeting_id, host = at(scene, state)
    before, told = scene.state(meeting_id), scene.told(meeting_id)
    if isinstance(outcome, str):
        with timed.transaction() as tx:
            STEPS[step](tx, meeting_id, host)
        assert scene.state(meeting_id).status == outcome
        assert scene.told(meeting_id) == [*told, "meeting_status"]
        return
    with pytest.raises(outcome), timed.transaction() as tx:
        STEPS[step](tx, meeting_id, host)
    assert (scene.state(meeting_id), scene.told(meeting_id)) == (before, told)


@pytest.mark.parametrize("step", list(STEPS))
@pytest.mark.parametrize("meeting_id", [UNKNOWN, "not-an-id", "../../etc", ""])
def test_a_meeting_that_does_not_exist_is_not_found(timed: Runtime, step: str, meeting_id: str) -> None:
    host = Scene(timed).user()
    with pytest.raises(MeetingNotFound), timed.transaction() as tx:
        STEPS[step](tx, meeting_id, host)


def test_start_and_end_say_who_and_when_and_how_long(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    started_at = timed.now()
    running = scene.state(meeting_id)
    assert (running.started_at, running.started_by, running.duration_minutes) == (started_at, host.user_id, 0.0)
    clock.pass_(seconds=90)
    over = scene.end(meeting_id, host.user_id)
    assert (over.ended_at, over.ended_by, over.duration_minutes) == (timed.now(), host.user_id, 1.5)
    assert not over.is_running


def test_nothing_is_told_behind_the_end(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    over = scene.end(meeting_id)
    assert scene.told(meeting_id) == ["meeting_status", "meeting_status"]
    with pytest.raises(StreamClosed), timed.transaction() as tx:
        tx.emit(MeetingChanged(meeting_id=meeting_id, meeting=over))
    assert len(scene.events(meeting_stream(meeting_id))) == 2


@pytest.mark.parametrize(
    ("start", "end", "kept_end"),
    [
        (None, None, None),
        (timedelta(days=1), None, timedelta(days=1, hours=1)),
        (timedelta(days=1), timedelta(days=2), timedelta(days=2)),
        (None, timedelta(days=2), timedelta(days=2)),
    ],
)
def test_an_end_that_is_not_given_follows_the_start_by_the_usual_duration(
    timed: Runtime, start: timedelta | None, end: timedelta | None, kept_end: timedelta | None
) -> None:
    scene = Scene(timed)
    now = timed.now()
    times = {"scheduled_start": start, "scheduled_end": end}
    wishes = {name: None if length is None else now + length for name, length in times.items()}
    made = scene.state(scene.meeting(scene.user(), start=False, **wishes))
    assert made.scheduled_start == wishes["scheduled_start"]
    assert made.scheduled_end == (None if kept_end is None else now + kept_end)


@pytest.mark.parametrize("length", [timedelta(0), timedelta(seconds=-1)])
def test_a_meeting_must_end_after_it_starts(timed: Runtime, length: timedelta) -> None:
    scene = Scene(timed)
    host, start = scene.user(), timed.now() + timedelta(days=1)
    with pytest.raises(ValidationFailed) as refused:
        scene.meeting(host, scheduled_start=start, scheduled_end=start + length)
    assert list(refused.value.details) == ["scheduled_end"]
    meeting_id = scene.meeting(host, start=False, scheduled_start=start)
    with pytest.raises(ValidationFailed), timed.transaction() as tx:
        service.change(tx, meeting_id, host, {"scheduled_end": start + length})
    assert scene.state(meeting_id).scheduled_end == start + timedelta(hours=1)


def test_a_template_that_does_not_exist_is_refused(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    with pytest.raises(ValidationFailed) as refused:
        scene.meeting(host, template_id=new_id())
    assert list(refused.value.details) == ["template_id"]


def test_a_change_of_nothing_tells_nobody(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    before = scene.state(meeting_id)
    with timed.transaction() as tx:
        assert service.change(tx, meeting_id, host, {}) == before
    assert scene.told(meeting_id) == ["meeting_status"]


def test_meetings_over_their_time_are_found_the_longest_overdue_first(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    host = scene.user()
    # Far in the future, so that other tests' meetings in the same database are not due then.
    clock.pass_(days=10_000)
    late, later, never, over = (
        scene.meeting(host, policy={"meeting_duration_minutes": minutes}) for minutes in (20, 10, 0, 5)
    )
    scene.end(over)

    def overdue() -> list[str]:
        with timed.reading() as tx:
            return [found for found in service.overdue(tx, 1000) if found in (late, later, never, over)]

    assert overdue() == []
    clock.pass_(minutes=10)
    assert overdue() == [later]
    clock.pass_(minutes=10)
    assert overdue() == [later, late]


def test_soon_and_running_meetings_are_listed_in_pages(timed: Runtime) -> None:
    scene = Scene(timed)
    host, now = scene.user(), timed.now()
    soon = {"start": False, "scheduled_start": now + timedelta(minutes=9)}
    far = {"start": False, "scheduled_start": now + timedelta(minutes=11)}
    made = [scene.meeting(host, **wishes) for wishes in ({}, soon, far, {"start": False})]
    before = min(made)
    with timed.reading() as tx:
        wanted = sorted(made[:2])
        found = [id_ for id_ in queries.soon_and_running(tx, "", 10_000) if id_ in made]
        assert found == wanted
        rest = queries.soon_and_running(tx, before, 10_000)
        assert before not in rest
        assert [id_ for id_ in rest if id_ in made] == [id_ for id_ in wanted if id_ != before]
        assert len(queries.soon_and_running(tx, "", 1)) == 1


def test_a_lock_on_what_is_no_meeting_is_not_found(timed: Runtime) -> None:
    for meeting_id in (new_id(), "no id"):
        with pytest.raises(MeetingNotFound), timed.transaction() as tx:
            queries.lock_meeting(tx, meeting_id)
