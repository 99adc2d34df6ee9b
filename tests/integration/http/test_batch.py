"""What is done to many at once, at the door: accepted with a job, which its asker can watch (contract 4)."""

from typing import Any

import pytest

from shared.core.outbox import MAX_ATTEMPTS, outbox
from shared.jobs import service as jobs
from tests.factories.scene import UNKNOWN
from tests.factories.world import Person, World
from tests.integration.http.answers import check_failure, check_success
from workers import app  # noqa: F401  registers every task
from workers.task import run_job


def work(world: World, job_id: str) -> str:
    """Let a worker do the job now; return the outcome."""
    return run_job(world.runtime, "participants.update", job_id)


@pytest.fixture
def room(world: World, host: Person) -> tuple[str, list[Person], list[str]]:
    """A running meeting; two attendees and the ids of their places."""
    meeting_id = world.meeting(host)
    people = [world.person("Ann"), world.person("Bob")]
    world.inside(meeting_id, host)
    return meeting_id, people, [place["participant_id"] for place in world.inside(meeting_id, *people)]


def flags_of(person: Person, meeting_id: str) -> dict[str, Any]:
    """Return what everybody sees of everybody's flags, by participant."""
    return {each["participant_id"]: each for each in person.get(f"/meetings/{meeting_id}/participants").data}


def test_a_batch_is_accepted_done_and_seen_by_others(world: World, host: Person, room: Any) -> None:
    meeting_id, (_, bob), (first, second) = room
    updates = [{"participant_id": first, "is_muted": True}, {"participant_id": UNKNOWN, "is_muted": True}]
    accepted = check_success(host.post(f"/meetings/{meeting_id}/participants/batch", {"updates": updates}), 202)
    assert (accepted["status"], accepted["progress"]) == ("queued", {"done": 0, "total": 2})
    assert not flags_of(bob, meeting_id)[first]["is_muted"]

    assert work(world, accepted["job_id"]) == "done"

    job = check_success(host.get(f"/jobs/{accepted['job_id']}"))
    assert (job["kind"], job["status"], job["progress"]) == ("participants.batch", "succeeded", {"done": 2, "total": 2})
    assert job["result"]["refused"] == [{"participant_id": UNKNOWN, "code": "PARTICIPANT_NOT_FOUND"}]
    seen = flags_of(bob, meeting_id)
    assert (seen[first]["is_muted"], seen[second]["is_muted"]) == (True, False)
    assert work(world, accepted["job_id"]) == "skipped"


@pytest.mark.parametrize("shortcut", ["mute-all", "lower-hands"])
def test_the_shortcuts_are_jobs_too(world: World, host: Person, room: Any, shortcut: str) -> None:
    meeting_id, (ann, bob), (first, second) = room
    check_success(ann.put(f"/meetings/{meeting_id}/participants/status", {"is_hand_raised": True}))
    job_id = check_success(host.post(f"/meetings/{meeting_id}/{shortcut}"), 202)["job_id"]
    work(world, job_id)
    seen = flags_of(bob, meeting_id)
    muted, raised = (True, True) if shortcut == "mute-all" else (False, False)
    assert [seen[id_]["is_muted"] for id_ in (first, second)] == [muted, muted]
    assert seen[first]["is_hand_raised"] is raised


def test_s17_a_job_is_nobody_elses(world: World, host: Person, room: Any) -> None:
    meeting_id, (ann, _), _ = room
    job_id = host.post(f"/meetings/{meeting_id}/mute-all").data["job_id"]
    for other in (ann, world.person()):
        for method in ("GET", "DELETE"):
            theirs = check_failure(other.call(method, f"/jobs/{job_id}"), 404, "JOB_NOT_FOUND").body
            nobodys = check_failure(other.call(method, f"/jobs/{UNKNOWN}"), 404, "JOB_NOT_FOUND").body
            assert (theirs["message"], theirs["details"]) == (nobodys["message"], nobodys["details"])
    check_failure(host.get("/jobs/not-an-id"), 404, "JOB_NOT_FOUND")
    assert check_success(host.get(f"/jobs/{job_id}"))["status"] == "queued"


def test_a_queued_job_can_be_cancelled_and_a_finished_one_cannot(world: World, host: Person, room: Any) -> None:
    meeting_id, (ann, _), (first, _) = room
    job_id = host.post(f"/meetings/{meeting_id}/mute-all").data["job_id"]
    assert check_success(host.delete(f"/jobs/{job_id}"))["status"] == "cancelled"
    assert work(world, job_id) == "done"
    assert not flags_of(ann, meeting_id)[first]["is_muted"]
    other = host.post(f"/meetings/{meeting_id}/mute-all").data["job_id"]
    work(world, other)
    check_failure(host.delete(f"/jobs/{other}"), 409, "JOB_NOT_CANCELLABLE")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "_schema"),
        ({"updates": []}, "updates"),
        ({"updates": [{"participant_id": UNKNOWN}]}, "updates.0._schema"),
        ({"updates": [{"participant_id": UNKNOWN, "is_muted": "yes"}]}, "updates.0.is_muted"),
        ({"updates": [{"participant_id": UNKNOWN, "role": "host"}]}, "updates.0.role"),
        ({"updates": [{"participant_id": UNKNOWN, "is_muted": True}] * 2}, "updates"),
        ({"filter": {}}, "_schema"),
        ({"set": {"is_muted": True}}, "_schema"),
        ({"filter": {}, "set": {}}, "set._schema"),
        ({"filter": {"user_id": UNKNOWN}, "set": {"is_muted": True}}, "filter.user_id"),
        ({"filter": {"role": "king"}, "set": {"is_muted": True}}, "filter.role"),
        (
            {"filter": {}, "set": {"is_muted": True}, "updates": [{"participant_id": UNKNOWN, "is_muted": True}]},
            "_schema",
        ),
    ],
)
def test_s30_a_batch_that_is_not_understood_makes_no_job(host: Person, room: Any, body: Any, field: str) -> None:
    meeting_id, _, _ = room
    answer = check_failure(host.post(f"/meetings/{meeting_id}/participants/batch", body), 422, "VALIDATION_ERROR")
    assert list(answer.body["details"]) == [field]


def test_s120_ten_thousand_people_fit_one_batch_and_more_do_not(host: Person, room: Any) -> None:
    meeting_id, _, _ = room
    path = f"/meetings/{meeting_id}/participants/batch"
    updates = [{"participant_id": f"{n:026d}", "is_muted": True} for n in range(10_001)]
    check_failure(host.post(path, {"updates": updates}), 422, "VALIDATION_ERROR")
    accepted = check_success(host.post(path, {"updates": updates[1:]}), 202)
    assert accepted["progress"]["total"] == 10_000


def test_p8_work_that_was_given_up_has_failed(world: World, host: Person, room: Any) -> None:
    meeting_id, _, _ = room
    job_id = host.post(f"/meetings/{meeting_id}/mute-all").data["job_id"]
    with world.runtime.transaction() as tx:
        tx.execute(outbox.update().where(outbox.c.id == job_id).values(state="dead", attempts=MAX_ATTEMPTS))
    with world.runtime.transaction() as tx:
        assert [jobs.settle_dead(tx) for _ in range(2)] == [True, False]
    job = check_success(host.get(f"/jobs/{job_id}"))
    assert (job["status"], job["error"]["code"], job["result"]) == ("failed", "INTERNAL_ERROR", None)
    assert job["finished_at"] is not None


def test_the_same_request_again_is_one_job(host: Person, room: Any) -> None:
    meeting_id, _, _ = room
    headers = {"Idempotency-Key": f"mute {meeting_id}"}
    answers = [host.post(f"/meetings/{meeting_id}/mute-all", headers=headers) for _ in range(2)]
    assert answers[0].data["job_id"] == answers[1].data["job_id"]


@pytest.mark.parametrize("ban", [False, True])
def test_s105_who_was_put_out_neither_reads_nor_cancels_their_job(
    world: World, host: Person, room: Any, *, ban: bool
) -> None:
    meeting_id, (ann, _), (first, second) = room
    assert host.patch(f"/meetings/{meeting_id}/participants/{first}", {"role": "co-host"}).status == 200
    updates = [{"participant_id": second, "is_muted": True}]
    accepted = check_success(ann.post(f"/meetings/{meeting_id}/participants/batch", {"updates": updates}), 202)
    at = f"/jobs/{accepted['job_id']}"
    assert ann.get(at).status == 200
    assert host.post(f"/meetings/{meeting_id}/participants/{first}/remove", {"ban": ban}).status == 200
    for answer in (ann.get(at), ann.delete(at)):
        check_failure(answer, 404, "JOB_NOT_FOUND")


@pytest.mark.parametrize("id_", ["\U0001f600" * 30, "x" * 37, "", "a b"])
def test_a_batch_names_people_by_what_an_id_looks_like(host: Person, room: Any, id_: str) -> None:
    updates = [{"participant_id": id_, "is_muted": True}]
    answer = host.post(f"/meetings/{room[0]}/participants/batch", {"updates": updates})
    check_failure(answer, 422, "VALIDATION_ERROR")
