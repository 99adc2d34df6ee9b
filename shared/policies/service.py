"""Policies as rows: made with the meeting, changed by its host."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import update

from shared.core.errors import ValidationFailed
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.models import meetings
from shared.meetings.queries import lock_meeting
from shared.meetings.service import check_not_over
from shared.policies.cache import get_policy
from shared.policies.events import PolicyChangeBegun, PolicyChanged
from shared.policies.models import DEFAULTS, HOST, NONE, Policy, policies


def create_policy(tx: Transaction, meeting_id: str, wishes: Mapping[str, Any]) -> None:
    """Give a new meeting its policy: the defaults, and what its creator wished. Raises ValidationFailed."""
    rules = {**_defaults(tx), **_rules(tx, wishes)}
    _check_passcode(rules, "policy")
    tx.execute(policies.insert().values(meeting_id=meeting_id, version=1, updated_at=tx.now, **rules))


def change_policy(
    tx: Transaction, meeting_id: str, actor: Actor, wishes: Mapping[str, Any], *, replace: bool
) -> Policy:
    """Set rules of a meeting that is not over; with `replace` what is not given goes back to its default.

    `passcode` None takes the passcode away. Locks the meeting row. Emits PolicyChanged, from which follows what the
    new rules take from people inside. Raises MeetingNotFound, MeetingEnded, InvalidMeetingState, ValidationFailed.
    """
    meeting = lock_meeting(tx, meeting_id)
    check_not_over(meeting)
    before = get_policy(tx, meeting)
    rules = _rules(tx, wishes)
    if replace:
        rules = {**_defaults(tx), **rules}
    merged = {"require_password": before.require_password, "passcode_hash": before.passcode_hash, **rules}
    _check_passcode(merged, "passcode")
    version = before.version + 1
    tx.unsettled.add(meeting_id)
    row = tx.execute(
        update(policies)
        .where(policies.c.meeting_id == meeting_id)
        .values(version=version, updated_at=tx.now, **rules)
        .returning(policies)
    ).one()
    tx.execute(update(meetings).where(meetings.c.id == meeting_id).values(policy_version=version))
    after = Policy.of(row)
    tx.emit(PolicyChangeBegun(meeting=meeting, before=before, after=after))
    tx.emit(PolicyChanged(meeting_id=meeting_id, actor_id=actor.user_id, meeting=meeting, before=before, after=after))
    return after


def merge(tx: Transaction, policy: Policy, wishes: Mapping[str, Any]) -> Policy:
    """Return the policy that `change_policy` would make of this one, and store nothing. Raises ValidationFailed."""
    rules = _rules(tx, wishes)
    _check_passcode(
        {"require_password": policy.require_password, "passcode_hash": policy.passcode_hash, **rules}, "policy.passcode"
    )
    return replace(policy, **rules)


def _defaults(tx: Transaction) -> dict[str, Any]:
    return {**DEFAULTS, "max_participants": tx.settings.meeting_max_participants, "passcode_hash": None}


def _rules(tx: Transaction, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Return wishes as columns: of a passcode only a hash is kept."""
    rules = dict(wishes)
    if "passcode" in rules:
        passcode = rules.pop("passcode")
        rules["passcode_hash"] = tx.keyring.hash_passcode(passcode) if passcode else None
    return rules


def _check_passcode(rules: Mapping[str, Any], field: str) -> None:
    if rules["require_password"] and rules["passcode_hash"] is None:
        raise ValidationFailed(details={field: ["require_password needs a passcode."]})


def permits(permission: str, *, is_staff: bool) -> bool:
    """Tell whether a permission of the kind host|all|none covers somebody."""
    if permission == NONE:
        return False
    return is_staff or permission != HOST
