"""Doors of jobs (contract 4): how one's own stands, and to call it off."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.jobs import service
from shared.jobs.errors import JobNotCancellable, JobNotFound
from shared.jobs.models import JobState
from shared.meetings.errors import MeetingNotFound
from shared.participants import permissions
from shared.participants.membership import get_membership
from web.http.door import door
from web.jobs.schemas import JobView

blueprint = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs", description="Work that goes on after the answer")


@door(blueprint, "GET", "/<job_id>", permission=permissions.JOB_READ, gives=JobView(), refusals=(JobNotFound,))
def read_job(tx: Transaction, actor: Actor, job_id: str) -> dict[str, Any]:
    """Read how a job of yours stands

    Only whoever asked for it. It is kept for 24 hours after its end.
    """
    return _asked_by(tx, actor, job_id).public()


def _asked_by(tx: Transaction, actor: Actor, job_id: str) -> JobState:
    """Return a job to whoever asked for it, unless they were put out of the meeting since. Raises JobNotFound."""
    job = service.get_job(tx, job_id, actor)
    try:
        get_membership(tx, job.meeting_id, actor)
    except MeetingNotFound:
        raise JobNotFound from None
    return job


@door(
    blueprint,
    "DELETE",
    "/<job_id>",
    permission=permissions.JOB_CANCEL,
    gives=JobView(),
    message="Cancelled.",
    refusals=(JobNotFound, JobNotCancellable),
)
def cancel_job(tx: Transaction, actor: Actor, job_id: str) -> dict[str, Any]:
    """Cancel a job that has not begun"""
    return service.cancel(tx, _asked_by(tx, actor, job_id).id, actor).public()
