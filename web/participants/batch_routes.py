"""Doors for what is done to many at once (contract 4): answered with a job."""

from typing import Any

from shared.core.errors import InsufficientPermission
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import batch, permissions
from web.http.door import door
from web.jobs.schemas import JobView
from web.participants.moderation_routes import blueprint
from web.participants.schemas import BatchRequest

_REFUSALS = (MeetingNotFound, InsufficientPermission, MeetingNotActive, MeetingEnded, InvalidMeetingState)


@door(
    blueprint,
    "POST",
    "/participants/batch",
    permission=permissions.PARTICIPANTS_MODERATE,
    takes=BatchRequest(),
    gives=JobView(),
    status=202,
    message="Accepted.",
    refusals=_REFUSALS,
)
def update_participants(
    tx: Transaction,
    actor: Actor,
    meeting_id: str,
    updates: list[dict[str, Any]] | None = None,
    filter: dict[str, str] | None = None,
    set: dict[str, bool] | None = None,
) -> dict[str, Any]:
    """Change many participants

    Answered at once with a job, which a worker does in chunks; each chunk is one `participant_update` event whose
    `participants` say who changed and how. Who cannot be changed is named in the job's result; the others are.
    """
    if updates is not None:
        return batch.update_each(tx, meeting_id, actor, updates).public()
    return batch.update_all(tx, meeting_id, actor, filter or {}, set or {}).public()


@door(
    blueprint,
    "POST",
    "/mute-all",
    permission=permissions.PARTICIPANTS_MODERATE,
    gives=JobView(),
    status=202,
    message="Accepted.",
    refusals=_REFUSALS,
)
def mute_all(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Mute everybody but yourself

    Hosts are left out when a co-host asks.
    """
    return batch.mute_all(tx, meeting_id, actor).public()


@door(
    blueprint,
    "POST",
    "/lower-hands",
    permission=permissions.PARTICIPANTS_MODERATE,
    gives=JobView(),
    status=202,
    message="Accepted.",
    refusals=_REFUSALS,
)
def lower_hands(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Lower every raised hand

    Those of hosts stay up when a co-host asks.
    """
    return batch.lower_hands(tx, meeting_id, actor).public()
