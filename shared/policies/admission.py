"""Who may enter: the one decision every door asks for. Pure: no database, no clock.

The order of the rules is the contract's (section 4), so that a refusal never tells more than the first rule that fails.
Capacity is the exception: it is counted by the statement that takes the seat, see shared.participants.service.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shared.core.errors import DomainError
from shared.core.keyring import Keyring
from shared.policies.errors import (
    AnonymousNotAllowed,
    DomainNotAllowed,
    MeetingLocked,
    PasscodeInvalid,
    PasscodeRequired,
    UserBlocked,
)
from shared.policies.models import DOMAIN_RESTRICTED, MANUAL, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """What the rules look at. `email` and `user_id` are None for guests; `is_staff` for hosts and co-hosts."""

    user_id: str | None
    email: str | None
    is_staff: bool
    is_banned: bool
    was_admitted: bool
    is_sent_back: bool
    passcode: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`action` is join, wait or deny; `rule` names the policy field that decided; `refusal` only with deny."""

    action: Literal["join", "wait", "deny"]
    rule: str
    refusal: type[DomainError] | None = None


def decide(policy: Policy, applicant: Applicant, keyring: Keyring) -> Verdict:
    """Judge an applicant who is not inside."""
    for rule, check in _RULES:
        refusal = check(policy, applicant, keyring)
        if refusal is not None:
            return Verdict("deny", rule, refusal)
    if applicant.is_staff or applicant.was_admitted:
        return Verdict("join", "role" if applicant.is_staff else "admitted")
    if applicant.is_sent_back:
        return Verdict("wait", "sent_back")
    if policy.require_waiting_room:
        return Verdict("wait", "require_waiting_room")
    if policy.join_approval_mode == MANUAL:
        return Verdict("wait", "join_approval_mode")
    if policy.join_approval_mode == DOMAIN_RESTRICTED and not _inside_domains(policy, applicant):
        return Verdict("wait", "join_approval_mode")
    return Verdict("join", "open")


def _blocked(policy: Policy, who: Applicant, _: Keyring) -> type[DomainError] | None:
    return UserBlocked if who.is_banned or (who.user_id in policy.blocked_users and not who.is_staff) else None


def _anonymous(policy: Policy, who: Applicant, _: Keyring) -> type[DomainError] | None:
    return AnonymousNotAllowed if who.user_id is None and not policy.allow_anonymous_join else None


def _domain(policy: Policy, who: Applicant, _: Keyring) -> type[DomainError] | None:
    if who.is_staff or not policy.allowed_domains or policy.join_approval_mode == DOMAIN_RESTRICTED:
        return None
    return None if _inside_domains(policy, who) else DomainNotAllowed


def _passcode(policy: Policy, who: Applicant, keyring: Keyring) -> type[DomainError] | None:
    if who.is_staff or not policy.require_password or policy.passcode_hash is None:
        return None
    if who.passcode is None:
        return PasscodeRequired
    return None if keyring.passcode_matches(who.passcode, policy.passcode_hash) else PasscodeInvalid


def _lock(policy: Policy, who: Applicant, _: Keyring) -> type[DomainError] | None:
    return MeetingLocked if policy.lock_meeting and not who.is_staff else None


_RULES: tuple[tuple[str, Callable[[Policy, Applicant, Keyring], type[DomainError] | None]], ...] = (
    ("blocked_users", _blocked),
    ("allow_anonymous_join", _anonymous),
    ("allowed_domains", _domain),
    ("require_password", _passcode),
    ("lock_meeting", _lock),
)


def _inside_domains(policy: Policy, who: Applicant) -> bool:
    """Exact and case-insensitive: a subdomain is another domain, and what stands before the last @ never counts."""
    if who.email is None:
        return False
    domain = who.email.rpartition("@")[2].lower()
    return domain in {d.lower() for d in policy.allowed_domains}
