"""What other rules would have meant: the last joins of a meeting, judged by a policy that nobody has set (contract 6).

A dry run before a host changes rules. Who asked is judged as somebody who comes for the first time: what hosts decided
afterwards (admitted, sent back) is no answer to the question, a ban is. Seats are not counted. What passcode somebody
gave is not kept: one that stays is taken as given, a new one would have been asked for.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.models import users
from shared.participants.membership import get_permitted
from shared.participants.models import INVITED, STAFF, participants
from shared.participants.permissions import POLICY_SIMULATE
from shared.policies.admission import Applicant, decide
from shared.policies.cache import get_policy
from shared.policies.models import Policy
from shared.policies.remedies import REMEDIES
from shared.policies.service import merge

LAST = 100

_ASKED = (
    select(participants, users.c.email)
    .outerjoin(users, users.c.id == participants.c.user_id)
    .where(participants.c.status != INVITED)
    .order_by(
        func.coalesce(participants.c.joined_at, participants.c.waiting_since, participants.c.created_at).desc(),
        participants.c.id.desc(),
    )
    .limit(LAST)
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a join gets: `action` is join, wait or deny; `code` and `remedy` are None for join."""

    action: str
    code: str | None
    rule: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class SimulatedJoin:
    """Somebody who asked for entry: what they would get by the rules as they are, and by the others."""

    participant_id: str
    user_name: str
    now: Outcome
    then: Outcome


@dataclass(frozen=True, slots=True)
class Simulation:
    """The last joins, the newest first; `outcomes` counts what they would get by the other rules."""

    evaluated: int
    changed: int
    outcomes: dict[str, int]
    joins: list[SimulatedJoin]


def simulate(tx: Transaction, meeting_id: str, actor: Actor, wishes: Mapping[str, Any]) -> Simulation:
    """Judge the last joins of a meeting by its policy with `wishes` merged into it. Changes nothing.

    Raises MeetingNotFound, InsufficientPermission, ValidationFailed.
    """
    meeting = get_permitted(tx, meeting_id, actor, POLICY_SIMULATE).meeting
    policy = get_policy(tx, meeting)
    other = merge(tx, policy, wishes)
    joins = [
        SimulatedJoin(row.id, row.user_name, _outcome(tx, policy, policy, row), _outcome(tx, other, policy, row))
        for row in tx.all(_ASKED.where(participants.c.meeting_id == meeting_id))
    ]
    counted = Counter(join.then.action for join in joins)
    outcomes = {action: counted[action] for action in ("join", "wait", "deny")}
    return Simulation(len(joins), sum(join.now != join.then for join in joins), outcomes, joins)


def _outcome(tx: Transaction, policy: Policy, present: Policy, row: Any) -> Outcome:
    if policy.passcode_hash == present.passcode_hash and present.require_password:
        policy = replace(policy, require_password=False)
    verdict = decide(policy, _applicant(row), tx.keyring)
    if verdict.action == "join":
        return Outcome("join", None, verdict.rule, None)
    code = verdict.refusal.code if verdict.refusal else "WAITING_ROOM_REQUIRED"
    return Outcome(verdict.action, code, verdict.rule, REMEDIES[verdict.rule])


def _applicant(row: Any) -> Applicant:
    return Applicant(
        user_id=row.user_id,
        email=row.email,
        is_staff=row.role in STAFF,
        is_banned=row.is_banned,
        was_admitted=False,
        is_sent_back=False,
        passcode=None,
    )
