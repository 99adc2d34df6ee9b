"""Doors of policies (contract 6)."""

from typing import Any

from flask_smorest import Blueprint

from shared.core.errors import InsufficientPermission
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotFound
from shared.participants import access, permissions, simulation
from shared.participants.errors import NotInside, ParticipantNotFound
from shared.participants.membership import get_permitted
from shared.policies import service
from shared.policies.cache import get_policy
from web.http.door import door
from web.policies.schemas import (
    AccessRequest,
    AccessView,
    PolicyChange,
    PolicyRequest,
    PolicyView,
    SimulationRequest,
    SimulationView,
)

blueprint = Blueprint(
    "policies", __name__, url_prefix="/api/v1/meetings/<meeting_id>/security", description="Who may do what"
)

_CHANGING = (MeetingNotFound, InsufficientPermission, MeetingEnded, InvalidMeetingState)


@door(
    blueprint,
    "GET",
    "/policy",
    permission=permissions.POLICY_READ,
    gives=PolicyView(),
    refusals=(MeetingNotFound, NotInside),
)
def read_policy(tx: Transaction, actor: Actor, meeting_id: str) -> dict[str, Any]:
    """Read the rules of a meeting"""
    found = get_permitted(tx, meeting_id, actor, permissions.POLICY_READ)
    sees_all = permissions.may(found.me, permissions.POLICY_READ_ALL)
    return get_policy(tx, found.meeting).public(for_staff=sees_all)


@door(
    blueprint,
    "POST",
    "/policy",
    permission=permissions.POLICY_UPDATE,
    takes=PolicyRequest(),
    gives=PolicyView(),
    limit="meetings",
    message="The rules are replaced.",
    refusals=_CHANGING,
)
def replace_policy(tx: Transaction, actor: Actor, meeting_id: str, **rules: Any) -> dict[str, Any]:
    """Replace the rules

    What is not given goes back to its default. Only the host may. Everybody inside hears a `policy` event, and what
    the new rules take away is gone with it.
    """
    get_permitted(tx, meeting_id, actor, permissions.POLICY_UPDATE)
    return service.change_policy(tx, meeting_id, actor, rules, replace=True).public(for_staff=True)


@door(
    blueprint,
    "PATCH",
    "/policy",
    permission=permissions.POLICY_UPDATE,
    takes=PolicyChange(),
    gives=PolicyView(),
    limit="meetings",
    message="The rules are changed.",
    refusals=_CHANGING,
)
def change_policy(tx: Transaction, actor: Actor, meeting_id: str, **rules: Any) -> dict[str, Any]:
    """Change some of the rules

    Only the host may. Everybody inside hears a `policy` event, and what the new rules take away is gone with it.
    """
    get_permitted(tx, meeting_id, actor, permissions.POLICY_UPDATE)
    return service.change_policy(tx, meeting_id, actor, rules, replace=False).public(for_staff=True)


@door(
    blueprint,
    "POST",
    "/policy/simulate",
    permission=permissions.POLICY_SIMULATE,
    takes=SimulationRequest(),
    gives=SimulationView(),
    refusals=(MeetingNotFound, InsufficientPermission),
)
def simulate_policy(tx: Transaction, actor: Actor, meeting_id: str, policy: dict[str, Any]) -> Any:
    """What would the last joins have got by other rules?

    Changes nothing: try rules here before you set them. For hosts and co-hosts. The given rules are merged into the
    present ones, as PATCH does, and the last 100 who asked for entry are judged by both, the newest first, each as
    somebody who comes for the first time. Seats are not counted. Passcodes are not kept, so a new one shows as
    `PASSCODE_REQUIRED` by the rule `require_password`; one that stays is taken as given.
    """
    return simulation.simulate(tx, meeting_id, actor, policy)


@door(
    blueprint,
    "POST",
    "/validate-access",
    permission=permissions.ENTRY_FORESEE,
    takes=AccessRequest(),
    gives=AccessView(),
    refusals=(MeetingNotFound, InsufficientPermission, ParticipantNotFound),
)
def validate_access(tx: Transaction, actor: Actor, meeting_id: str, user_id: str | None) -> Any:
    """What would a join get, and which rule decides?

    Changes nothing. For yourself; hosts and co-hosts may ask about others.
    """
    return access.foresee(tx, meeting_id, actor, user_id)
