"""What is done to many at once: in chunks, each told once, each done once, judged person by person."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.core.errors import DomainError, InsufficientPermission
from shared.core.outbox import MAX_ATTEMPTS, outbox
from shared.core.streams import meeting_stream, personal_stream
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.jobs import service as jobs
from shared.jobs.errors import JobNotCancellable, JobNotFound
from shared.jobs.models import JobState
from shared.jobs.models import jobs as table
from shared.meetings import service as meetings
from shared.meetings.errors import MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import batch
from shared.participants.flags import Flags, set_my_flags
from shared.participants.models import CO_HOST
from shared.participants.moderation import change
from shared.participants.moderation import remove as put_out
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.factories.scene import UNKNOWN, Scene, change_place


@pytest.fixture
def runtime(runtime: Runtime, tmp_path: Path) -> Iterator[Runtime]:
    """A database of the test's own: workers that other tests started do not do its jobs."""
    with on_own_database(runtime, tmp_path) as own:
        yield own


class Killed(Exception):
    """What ends a worker."""


class Crowd:
    """A running meeting with people inside."""

    def __init__(self, runtime: Runtime, size: int) -> None:
        self.runtime = runtime
        self.scene = Scene(runtime)
        self.host = self.scene.user("Hosta")
        self.id = self.scene.meeting(self.host)
        self.scene.join(self.id, self.host)
        self.people = [self.scene.user() for _ in range(size)]
        for person in self.people:
            self.scene.join(self.id, person)

    def place(self, person: Actor) -> str:
        return self.scene.place(self.id, person).id

    def accept(self, what: Any, *arguments: Any, by: Actor | None = None) -> JobState:
        with self.runtime.transaction() as tx:
            return what(tx, self.id, by or self.host, *arguments)  # type: ignore[no-any-return]

    def work(self, job: JobState, chunks: int = 100) -> JobState:
        """Let a worker do some chunks, or all; return the job afterwards."""
        for _ in range(chunks):
            with self.runtime.transaction() as tx:
                if not batch.work_chunk(tx, job.id):
                    break
        return self.look(job)

    def work_and_die(self, job: JobState) -> None:
        """Let a worker do a chunk, and end before its commit."""
        with self.runtime.transaction() as tx:
            batch.work_chunk(tx, job.id)
            raise Killed

    def look(self, job: JobState) -> JobState:
        with self.runtime.reading() as tx:
            return jobs.get_job(tx, job.id, job.actor)

    def changes(self) -> list[list[dict[str, Any]]]:
        """Return what everybody was told about many at once."""
        told = [
            json.loads(e.data) for e in self.scene.events(meeting_stream(self.id)) if e.type == "participant_update"
        ]
        return [data["participants"] for data in told if "participants" in data]

    def muted(self) -> list[bool]:
        return [self.scene.place(self.id, person).is_muted for person in self.people]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK", 2)


@pytest.mark.usefixtures("small_chunks")
def test_everybody_but_the_actor_is_muted_in_chunks_with_one_event_each(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 5)
    job = crowd.accept(batch.mute_all)
    assert (job.kind, job.status, job.total) == (batch.MUTE_ALL, "queued", 5)

    job = crowd.work(job)

    assert (job.status, job.done, job.total, job.error) == ("succeeded", 5, 5, None)
    assert job.result == {"updated": 5, "unchanged": 0, "refused_count": 0, "refused": []}
    assert crowd.muted() == [True] * 5
    assert not crowd.scene.place(crowd.id, crowd.host).is_muted
    places = sorted(crowd.place(person) for person in crowd.people)
    assert crowd.changes() == [
        [{"participant_id": id_, "is_muted": True} for id_ in part] for part in (places[:2], places[2:4], places[4:])
    ]


@pytest.mark.usefixtures("small_chunks")
def test_whoever_asked_is_told_how_far_it_came_and_nobody_else(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 3)
    crowd.work(crowd.accept(batch.mute_all))
    frames = [
        json.loads(e.data) for e in crowd.scene.events(personal_stream(crowd.place(crowd.host))) if e.type == "job"
    ]
    assert [(f["status"], f["progress"]) for f in frames] == [
        ("running", {"done": 2, "total": 3}),
        ("succeeded", {"done": 3, "total": 3}),
    ]
    assert "job" not in crowd.scene.told(crowd.id)


@pytest.mark.usefixtures("small_chunks")
def test_p8_a_worker_that_dies_between_chunks_leaves_no_chunk_undone_and_none_done_twice(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 5)
    job = crowd.work(crowd.accept(batch.mute_all), chunks=1)
    assert (job.status, job.done) == ("running", 2)
    with pytest.raises(Killed):
        crowd.work_and_die(job)
    assert crowd.look(job).done == 2

    job = crowd.work(job)
    assert crowd.work(job) == job

    assert (job.status, job.result["updated"]) == ("succeeded", 5)
    told = [each["participant_id"] for part in crowd.changes() for each in part]
    assert sorted(told) == sorted(crowd.place(person) for person in crowd.people)


def test_what_is_so_already_is_not_told(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 2)
    crowd.work(crowd.accept(batch.mute_all))
    again = crowd.work(crowd.accept(batch.mute_all))
    assert (again.result["updated"], again.result["unchanged"]) == (0, 2)
    assert len(crowd.changes()) == 1


def test_all_hands_go_down_the_actors_too(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 3)
    raised = [crowd.people[0], crowd.people[2], crowd.host]
    for person in raised:
        with runtime.transaction() as tx:
            set_my_flags(tx, crowd.id, person, Flags(is_hand_raised=True))
    job = crowd.work(crowd.accept(batch.lower_hands))
    assert (job.total, job.result["updated"], job.result["refused"]) == (3, 3, [])
    for person in raised:
        place = crowd.scene.place(crowd.id, person)
        assert (place.is_hand_raised, place.hand_raised_at) == (False, None)
    down = {"is_hand_raised": False, "hand_raised_at": None}
    (part,) = crowd.changes()
    assert part == [{"participant_id": crowd.place(person), **down} for person in sorted(raised, key=crowd.place)]


def test_a_co_host_lowers_hands_and_is_refused_nobody_whose_hand_is_down(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 2)
    deputy, ann = crowd.people
    change_place(runtime, crowd.place(deputy), role=CO_HOST)
    with runtime.transaction() as tx:
        set_my_flags(tx, crowd.id, ann, Flags(is_hand_raised=True))
    job = crowd.work(crowd.accept(batch.lower_hands, by=deputy))
    assert (job.total, job.result["updated"], job.result["refused"]) == (1, 1, [])


def test_each_named_person_gets_what_is_meant_for_them_and_refusals_are_named(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 4)
    one, two, three, four = map(crowd.place, crowd.people)
    elsewhere = Crowd(runtime, 1)
    stranger = elsewhere.place(elsewhere.people[0])
    crowd.scene.leave(crowd.id, crowd.people[3])
    updates = [
        {"participant_id": one, "is_muted": True},
        {"participant_id": two, "is_video_enabled": False, "can_chat": False},
        {"participant_id": three, "is_muted": False},
        {"participant_id": four, "is_muted": True},
        {"participant_id": stranger, "is_muted": True},
        {"participant_id": UNKNOWN, "is_muted": True},
    ]
    job = crowd.work(crowd.accept(batch.update_each, updates))
    assert job.status == "succeeded"
    assert (job.result["updated"], job.result["refused_count"]) == (2, 4)
    assert {each["participant_id"]: each["code"] for each in job.result["refused"]} == {
        three: "INSUFFICIENT_PERMISSION",
        four: "PARTICIPANT_NOT_FOUND",
        stranger: "PARTICIPANT_NOT_FOUND",
        UNKNOWN: "PARTICIPANT_NOT_FOUND",
    }
    assert crowd.muted() == [True, False, False, False]
    second = crowd.scene.participant(crowd.id, two)
    assert (second.is_video_enabled, second.can_chat) == (False, False)
    assert elsewhere.muted() == [False]
    assert elsewhere.changes() == []


def test_a_voice_that_is_taken_away_takes_microphone_and_camera_with_it(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 2)
    crowd.work(crowd.accept(batch.update_all, {"role": "attendee"}, {"can_publish": False}))
    for person in crowd.people:
        place = crowd.scene.place(crowd.id, person)
        assert (place.can_publish, place.is_muted, place.is_video_enabled) == (False, True, False)
    host = crowd.scene.place(crowd.id, crowd.host)
    assert (host.can_publish, host.is_muted) == (True, False)


def test_s28_nobody_is_unmuted_by_a_filter(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 1)
    with pytest.raises(InsufficientPermission) as refused:
        crowd.accept(batch.update_all, {}, {"is_muted": False})
    assert (refused.value.details["rule"], refused.value.details["fields"]) == ("themselves", ["is_muted"])


def test_s29_a_co_host_mutes_attendees_and_no_host(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 2)
    deputy = crowd.people[0]
    change_place(runtime, crowd.place(deputy), role=CO_HOST)
    job = crowd.work(crowd.accept(batch.mute_all, by=deputy))
    assert job.result["refused"] == [{"participant_id": crowd.place(crowd.host), "code": "INSUFFICIENT_PERMISSION"}]
    assert crowd.muted() == [False, True]
    assert not crowd.scene.place(crowd.id, crowd.host).is_muted


def test_a_filter_means_those_inside_who_fit_it(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 3)
    crowd.scene.leave(crowd.id, crowd.people[0])
    change_place(runtime, crowd.place(crowd.people[1]), role=CO_HOST)
    for filter_, expected in (({"status": "left"}, 0), ({"role": "co-host"}, 1), ({"status": "joined"}, 3)):
        job = crowd.work(crowd.accept(batch.update_all, filter_, {"is_screen_sharing": False}))
        assert (job.status, job.done) == ("succeeded", expected)


def not_permitted(crowd: Crowd) -> Actor:
    return crowd.people[0]


def stranger(crowd: Crowd) -> Actor:
    return crowd.scene.user()


@pytest.mark.parametrize(("who", "refusal"), [(not_permitted, InsufficientPermission), (stranger, MeetingNotFound)])
def test_who_may_not_moderate_gets_no_job(runtime: Runtime, who: Any, refusal: type[DomainError]) -> None:
    crowd = Crowd(runtime, 1)
    for what in (batch.mute_all, batch.lower_hands):
        with pytest.raises(refusal):
            crowd.accept(what, by=who(crowd))
    with runtime.reading() as tx:
        assert tx.all(table.select().where(table.c.meeting_id == crowd.id)) == []


def test_a_meeting_that_does_not_run_has_nobody_to_mute(runtime: Runtime) -> None:
    scene = Scene(runtime)
    host = scene.user()
    planned, over = scene.meeting(host, start=False), scene.meeting(host)
    scene.end(over)
    for id_, refusal in ((planned, MeetingNotActive), (over, MeetingEnded)):
        with pytest.raises(refusal), runtime.transaction() as tx:
            batch.mute_all(tx, id_, host)


def end(tx: Transaction, crowd: Crowd) -> None:
    meetings.end(tx, crowd.id, crowd.host.user_id)


def demote(tx: Transaction, crowd: Crowd) -> None:
    change(tx, crowd.id, crowd.host, crowd.place(crowd.people[0]), {"role": "attendee"})


def throw_out(tx: Transaction, crowd: Crowd) -> None:
    put_out(tx, crowd.id, crowd.host, crowd.place(crowd.people[0]), ban=False, reason=None)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("lose", "code"),
    [(end, "MEETING_ENDED"), (demote, "INSUFFICIENT_PERMISSION"), (throw_out, "MEETING_NOT_FOUND")],
)
def test_p7_a_right_that_is_lost_meanwhile_ends_the_job(runtime: Runtime, lose: Any, code: str) -> None:
    crowd = Crowd(runtime, 5)
    deputy = crowd.people[0]
    change_place(runtime, crowd.place(deputy), role=CO_HOST)
    job = crowd.work(crowd.accept(batch.update_all, {"role": "attendee"}, {"is_muted": True}, by=deputy), chunks=1)
    assert job.status == "running"
    with runtime.transaction() as tx:
        lose(tx, crowd)
    job = crowd.work(job)
    assert (job.status, job.done) == ("failed", 2)
    assert job.error is not None
    assert job.error["code"] == code
    assert sum(crowd.muted()) == 2


@pytest.mark.usefixtures("small_chunks")
def test_a_job_whose_actor_was_demoted_fails_behind_the_end_of_the_meeting_too(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 5)
    deputy = crowd.people[0]
    change_place(runtime, crowd.place(deputy), role=CO_HOST)
    job = crowd.work(crowd.accept(batch.update_all, {"role": "attendee"}, {"is_muted": True}, by=deputy), chunks=1)
    with runtime.transaction() as tx:
        demote(tx, crowd)
    with runtime.transaction() as tx:
        end(tx, crowd)
    job = crowd.work(job)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "INSUFFICIENT_PERMISSION")


def give_up(runtime: Runtime, job: JobState) -> None:
    """Have the job's outbox row given up, and whoever looks after that see it."""
    with runtime.transaction() as tx:
        tx.execute(outbox.update().where(outbox.c.id == job.id).values(state="dead", attempts=MAX_ATTEMPTS))
    with runtime.transaction() as tx:
        assert jobs.settle_dead(tx)


@pytest.mark.usefixtures("small_chunks")
def test_p8_a_job_that_was_given_up_has_failed_and_its_asker_is_told(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 3)
    job = crowd.work(crowd.accept(batch.mute_all), chunks=1)
    give_up(runtime, job)
    told = [e for e in crowd.scene.events(personal_stream(crowd.place(crowd.host))) if e.type == "job"]
    assert [json.loads(e.data)["status"] for e in told] == ["running", "failed"]
    assert crowd.work(job).status == "failed"
    assert sum(crowd.muted()) == 2


def test_a_job_that_was_given_up_fails_after_the_meeting_too_when_nobody_is_told(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 1)
    job = crowd.accept(batch.mute_all)
    crowd.scene.end(crowd.id)
    give_up(runtime, job)
    assert crowd.look(job).status == "failed"
    assert "job" not in [e.type for e in crowd.scene.events(personal_stream(crowd.place(crowd.host)))]


def test_the_longest_report_of_refusals_fits_a_frame(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 0)
    updates = [{"participant_id": f"{n:026d}", "is_muted": True} for n in range(batch.REPORTED + 1)]
    job = crowd.work(crowd.accept(batch.update_each, updates))
    assert (job.result["refused_count"], len(job.result["refused"])) == (batch.REPORTED + 1, batch.REPORTED)
    last = crowd.scene.events(personal_stream(crowd.place(crowd.host)))[-1]
    assert json.loads(last.data)["status"] == "succeeded"
    assert len(last.data) < 60_000  # of 65 536, with what a frame has besides


def test_only_whoever_asked_sees_the_job(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 1)
    job = crowd.accept(batch.mute_all)
    for other in (crowd.people[0], crowd.scene.user()):
        with runtime.reading() as tx, pytest.raises(JobNotFound):
            jobs.get_job(tx, job.id, other)


def test_a_job_that_has_not_begun_can_be_called_off_and_is_not_done(runtime: Runtime) -> None:
    crowd = Crowd(runtime, 1)
    job = crowd.accept(batch.mute_all)
    for _ in range(2):
        with runtime.transaction() as tx:
            assert jobs.cancel(tx, job.id, crowd.host).status == "cancelled"
    assert crowd.work(job).status == "cancelled"
    assert crowd.muted() == [False]
    done = crowd.work(crowd.accept(batch.mute_all))
    with pytest.raises(JobNotCancellable), runtime.transaction() as tx:
        jobs.cancel(tx, done.id, crowd.host)
