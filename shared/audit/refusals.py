"""Refusals that belong into the audit trail: somebody known wanted what they may not (ASVS 16.3.2)."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from shared.audit.acts import NOBODY, Act, Party
from shared.audit.chain import append
from shared.audit.models import REFUSED
from shared.core.errors import DomainError
from shared.core.ids import is_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.models import users
from shared.meetings.errors import MeetingNotFound
from shared.meetings.queries import find_meeting
from shared.participants.errors import ParticipantNotFound
from shared.participants.membership import find_place
from shared.participants.permissions import PERMISSIONS, Permission
from shared.participants.queries import get_participant
from shared.policies.errors import MaxParticipantsReached


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What somebody wanted and may not. `operation` is the door, `target_id` the participant whom its address names.

    `actor` None stands for several people whose refusals are told together.
    """

    meeting_id: str
    actor: Actor | None
    kind: str
    operation: str
    code: str
    rule: str | None = None
    target_id: str | None = None


def is_unauthorised(refusal: DomainError) -> bool:
    """Tell whether somebody may not, as opposed to: cannot now, or asked wrongly.

    That a meeting is full is not about who asks, and comes in crowds. That one "does not exist" is what everybody is
    told who is none of its people.
    """
    if isinstance(refusal, MaxParticipantsReached):
        return False
    return refusal.status == 403 or isinstance(refusal, MeetingNotFound)


def kind_of(permission: Permission, refusal: DomainError) -> str:
    """Return the permission that was missed: the one the refusal names, or what the door asks of everybody."""
    rule = refusal.details.get("rule")
    return rule if rule in PERMISSIONS else permission.name


def record(tx: Transaction, refused: Refusal, repeated: int = 0) -> bool:
    """Write a refusal to the trail; with `repeated` the row stands for so many of the same.

    False, and nothing is written, when the meeting does not exist.
    """
    if find_meeting(tx, refused.meeting_id) is None:
        return False
    details: dict[str, Any] = {"operation": refused.operation, "code": refused.code}
    if refused.rule is not None:
        details["rule"] = refused.rule
    if repeated:
        details["repeated"] = repeated
    act = Act(
        meeting_id=refused.meeting_id,
        kind=refused.kind,
        outcome=REFUSED,
        actor=_actor(tx, refused.meeting_id, refused.actor),
        target=_target(tx, refused),
        details=details,
    )
    append(tx, act)
    return True


def _actor(tx: Transaction, meeting_id: str, actor: Actor | None) -> Party:
    if actor is None:
        return NOBODY
    place = find_place(tx, meeting_id, actor)
    if place is not None:
        return Party.of(place)
    name = actor.name or tx.scalar(select(users.c.name).where(users.c.id == actor.user_id)) or None
    return Party(actor.participant_id, actor.user_id, name)  # a stranger, or a guest of another meeting


def _target(tx: Transaction, refused: Refusal) -> Party:
    if refused.target_id is None or not is_id(refused.target_id):
        return NOBODY
    try:
        return Party.of(get_participant(tx, refused.meeting_id, refused.target_id))
    except ParticipantNotFound:
        return NOBODY
