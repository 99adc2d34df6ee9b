"""What a join would get, and why (contract 6): the same judgement as a join, without its effects."""

from dataclasses import dataclass
from typing import Literal

from shared.core.errors import DomainError
from shared.core.ids import is_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.service import find_user
from shared.meetings.service import check_running
from shared.participants import permissions
from shared.participants.errors import ParticipantNotFound
from shared.participants.membership import get_permitted
from shared.participants.service import JoinWish, judge
from shared.policies.remedies import REMEDIES


@dataclass(frozen=True, slots=True)
class Forecast:
    """`rule` names what decides; `code` and `remedy` are None for who may come in at once."""

    allowed: bool
    action: Literal["join", "wait", "deny"]
    code: str | None
    rule: str
    remedy: str | None


def foresee(tx: Transaction, meeting_id: str, actor: Actor, user_id: str | None) -> Forecast:
    """Return what the actor, or for hosts and co-hosts another user, would get for a join without a passcode.

    Changes nothing. Raises MeetingNotFound, InsufficientPermission (asks about others), ParticipantNotFound (no such
    user).
    """
    membership = get_permitted(tx, meeting_id, actor, permissions.ENTRY_FORESEE)
    meeting = membership.meeting
    if user_id is not None and user_id != actor.user_id:
        permissions.demand(membership.me, permissions.ENTRY_FORESEE_OTHERS)
        found = find_user(tx, user_id) if is_id(user_id) else None
        if found is None:
            raise ParticipantNotFound("There is no such user.")
        actor = found
    try:
        check_running(meeting)
    except DomainError as refused:
        return Forecast(False, "deny", refused.code, "status", REMEDIES["status"])
    try:
        _, _, verdict = judge(tx, meeting, actor, JoinWish())
    except DomainError as refused:
        rule = str(refused.details["rule"])
        return Forecast(False, "deny", refused.code, rule, REMEDIES[rule])
    if verdict is None:
        return Forecast(True, "join", None, "inside", None)
    if verdict.action == "wait":
        return Forecast(False, "wait", "WAITING_ROOM_REQUIRED", verdict.rule, REMEDIES[verdict.rule])
    return Forecast(True, "join", None, verdict.rule, None)
