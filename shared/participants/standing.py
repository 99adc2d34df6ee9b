"""What decides about a signal: who somebody is in a running meeting, and its policy."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.participants.membership import check_inside, get_inside, memberships_by_id
from shared.participants.models import Participant
from shared.policies.cache import get_policies, get_policy
from shared.policies.models import Policy


@dataclass(frozen=True, slots=True)
class Standing:
    """Read once, it can be used until an event says that it may have changed (shared.realtime.effects.renew)."""

    me: Participant
    policy: Policy


def get_standing(tx: Transaction, meeting_id: str, actor: Actor) -> Standing:
    """Return the standing of somebody inside. Raises as `get_inside`."""
    membership = get_inside(tx, meeting_id, actor)
    return Standing(membership.me, get_policy(tx, membership.meeting))


def get_standings(tx: Transaction, participant_ids: Collection[str]) -> dict[str, Standing | DomainError]:
    """Return the standing of many by their places in meetings; for who is not inside, what `get_inside` raises."""
    memberships = memberships_by_id(tx, participant_ids)
    policies = get_policies(tx, [membership.meeting for membership in memberships.values()])
    found: dict[str, Standing | DomainError] = dict.fromkeys(participant_ids, MeetingNotFound())
    for id_, membership in memberships.items():
        try:
            check_inside(membership)
            found[id_] = Standing(membership.me, policies[membership.meeting.id])
        except DomainError as refusal:
            found[id_] = refusal
    return found
