"""The snapshot: all that a client needs to start, or to start again after `resync` (contract 3)."""

from dataclasses import dataclass, field
from typing import Any

from shared.core import ledger
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.models import Meeting
from shared.participants.membership import get_permitted
from shared.participants.models import JOINED, Participant
from shared.participants.permissions import SNAPSHOT_READ
from shared.participants.queries import cursors, roster
from shared.policies.cache import get_policy

ROSTER_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a meeting as one person may see it, and where its streams stand."""

    meeting: Meeting
    me: Participant
    participants: list[Participant]
    policy: dict[str, Any]
    cursors: dict[str, int]
    epoch: str
    breakout_rooms: list[Any] = field(default_factory=list)
    polls: list[Any] = field(default_factory=list)


def take(tx: Transaction, meeting_id: str, actor: Actor) -> Snapshot:
    """Read the state. The transaction must be a consistent one: later events then lead to a later snapshot.

    Participants are those inside. Raises MeetingNotFound, NotInside.
    """
    membership = get_permitted(tx, meeting_id, actor, SNAPSHOT_READ)
    me = membership.me
    inside = [Participant.of(row) for row in tx.all(roster(me, [JOINED], "", ROSTER_LIMIT))]
    return Snapshot(
        meeting=membership.meeting,
        me=me,
        participants=inside,
        # As events tell it, to hosts too: what only hosts may know of it they read at the policy's own door.
        policy=get_policy(tx, membership.meeting).public(for_staff=False),
        cursors=cursors(tx, me),
        epoch=ledger.epoch(tx.connection),
    )
