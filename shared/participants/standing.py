"""What decides about a signal: who somebody is in a running meeting, and its policy."""

from dataclasses import dataclass

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.participants.models import Participant
from shared.participants.queries import get_inside
from shared.policies.cache import get_policy
from shared.policies.models import Policy


@dataclass(frozen=True, slots=True)
class Standing:
    """Read once, it can be used for a while: who leaves or is sent away loses the socket, and with it the standing."""

    me: Participant
    policy: Policy


def get_standing(tx: Transaction, meeting_id: str, actor: Actor) -> Standing:
    """Return the standing of somebody inside. Raises as `get_inside`."""
    membership = get_inside(tx, meeting_id, actor)
    return Standing(membership.me, get_policy(tx, membership.meeting))
