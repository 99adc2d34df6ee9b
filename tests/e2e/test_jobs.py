"""Work that a real worker does is watched by whoever asked, and heard by the others (contract 4)."""

import pytest

from tests.e2e.room import furnish
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


def test_g10_everybody_is_muted_by_a_worker_and_hears_it(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", "Bob")
    host, ann, _ = room.people
    with room.open(0) as hers, room.open(2) as his:
        job_id = host.post(room.path("/mute-all")).data["job_id"]
        heard = his.until(lambda f: f["type"] == "participant_update" and "participants" in f["data"], 10)
        told = hers.until(lambda f: f["type"] == "job" and f["data"]["status"] == "succeeded", 10)
        assert {each["is_muted"] for each in heard["data"]["participants"]} == {True}
        assert len(heard["data"]["participants"]) == 2
        assert (told["stream"], told["data"]["job_id"]) == ("me", job_id)
        assert "job" not in {frame["type"] for frame in his.heard}
    job = host.get(f"/jobs/{job_id}").data
    assert (job["status"], job["progress"]) == ("succeeded", {"done": 2, "total": 2})
    assert ann.get(f"/jobs/{job_id}").status == 404
    muted = {p["user_name"]: p["is_muted"] for p in ann.get(room.path("/participants")).data}
    assert muted == {"Hosta": False, "Ann": True, "Bob": True}
