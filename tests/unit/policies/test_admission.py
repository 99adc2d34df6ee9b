"""The decision of who may enter, as a pure function: every rule, its order, and whom it spares."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.core.errors import DomainError
from shared.core.keyring import Keyring
from shared.policies import errors
from shared.policies.admission import Applicant, Verdict, decide
from shared.policies.models import DEFAULTS, Policy

pytestmark = pytest.mark.once

KEYRING = Keyring("a secret that is used by nobody else, 40 bytes")
ADA = "01JQ0000000000000000000ADA"
CORP = {"allowed_domains": ["corp.com"]}
SECRET = {"require_password": True, "passcode_hash": KEYRING.hash_passcode("open sesame")}


def policy(**rules: Any) -> Policy:
    made = Policy(
        meeting_id="01JQ0000000000000000000001",
        version=1,
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        passcode_hash=None,
        **DEFAULTS,
    )
    return replace(made, **rules)


def applicant(**traits: Any) -> Applicant:
    usual: dict[str, Any] = {
        "user_id": ADA,
        "email": "ada@corp.com",
        "is_staff": False,
        "is_banned": False,
        "was_admitted": False,
        "is_sent_back": False,
        "passcode": None,
    }
    return Applicant(**{**usual, **traits})


GUEST = {"user_id": None, "email": None}


@pytest.mark.parametrize(
    ("rules", "traits", "verdict"),
    [
        ({}, {}, Verdict("join", "open")),
        ({}, {"is_banned": True}, Verdict("deny", "blocked_users", errors.UserBlocked)),
        ({}, {"is_banned": True, "is_staff": True}, Verdict("deny", "blocked_users", errors.UserBlocked)),
        ({"blocked_users": [ADA]}, {}, Verdict("deny", "blocked_users", errors.UserBlocked)),
        ({"blocked_users": [ADA]}, {"is_staff": True}, Verdict("join", "role")),
        ({"blocked_users": ["somebody else"]}, {}, Verdict("join", "open")),
        ({}, GUEST, Verdict("deny", "allow_anonymous_join", errors.AnonymousNotAllowed)),
        ({"allow_anonymous_join": True}, GUEST, Verdict("join", "open")),
        (CORP, {}, Verdict("join", "open")),
        (CORP, {"email": "ada@home.org"}, Verdict("deny", "allowed_domains", errors.DomainNotAllowed)),
        (CORP, {"email": "ada@home.org", "is_staff": True}, Verdict("join", "role")),
        (
            {**CORP, "allow_anonymous_join": True},
            GUEST,
            Verdict("deny", "allowed_domains", errors.DomainNotAllowed),
        ),
        (SECRET, {}, Verdict("deny", "require_password", errors.PasscodeRequired)),
        (SECRET, {"passcode": "Open Sesame"}, Verdict("deny", "require_password", errors.PasscodeInvalid)),
        (SECRET, {"passcode": "open sesame"}, Verdict("join", "open")),
        (SECRET, {"is_staff": True}, Verdict("join", "role")),
        ({**SECRET, "require_password": False}, {}, Verdict("join", "open")),
        ({"require_password": True}, {}, Verdict("join", "open")),
        ({"lock_meeting": True}, {}, Verdict("deny", "lock_meeting", errors.MeetingLocked)),
        ({}, {"is_sent_back": True}, Verdict("wait", "sent_back")),
        ({}, {"is_sent_back": True, "is_staff": True}, Verdict("join", "role")),
        ({"lock_meeting": True}, {"is_sent_back": True}, Verdict("deny", "lock_meeting", errors.MeetingLocked)),
        ({"lock_meeting": True}, {"was_admitted": True}, Verdict("deny", "lock_meeting", errors.MeetingLocked)),
        ({"lock_meeting": True}, {"is_staff": True}, Verdict("join", "role")),
        ({"require_waiting_room": True}, {}, Verdict("wait", "require_waiting_room")),
        ({"require_waiting_room": True}, {"was_admitted": True}, Verdict("join", "admitted")),
        ({"require_waiting_room": True}, {"is_staff": True}, Verdict("join", "role")),
        ({"join_approval_mode": "manual"}, {}, Verdict("wait", "join_approval_mode")),
        ({"join_approval_mode": "manual"}, {"was_admitted": True}, Verdict("join", "admitted")),
        ({"join_approval_mode": "manual"}, {"is_staff": True}, Verdict("join", "role")),
        ({**CORP, "join_approval_mode": "domain_restricted"}, {}, Verdict("join", "open")),
        (
            {**CORP, "join_approval_mode": "domain_restricted"},
            {"email": "ada@home.org"},
            Verdict("wait", "join_approval_mode"),
        ),
        (
            {**CORP, "join_approval_mode": "domain_restricted", "allow_anonymous_join": True},
            GUEST,
            Verdict("wait", "join_approval_mode"),
        ),
        (
            {**CORP, "join_approval_mode": "domain_restricted"},
            {"email": "ada@home.org", "is_staff": True},
            Verdict("join", "role"),
        ),
    ],
)
def test_each_rule_says_what_follows_and_names_itself(
    rules: dict[str, Any], traits: dict[str, Any], verdict: Verdict
) -> None:
    assert decide(policy(**rules), applicant(**traits), KEYRING) == verdict


@pytest.mark.parametrize(
    "address",
    [
        "ada@corp.com.evil.org",
        "ada@evil.org@corp.com.evil.org",
        "ada@sub.corp.com",
        "ada@corp.com.",
        "ada@xn--crp-xna.com",
        "ada@notcorp.com",
    ],
)
def test_s40_only_the_exact_domain_behind_the_last_at_sign_counts(address: str) -> None:
    assert decide(policy(**CORP), applicant(email=address), KEYRING).refusal is errors.DomainNotAllowed


@pytest.mark.parametrize("domain", ["corp.com", "CORP.com", "Corp.Com"])
@pytest.mark.parametrize("address", ["ada@corp.com", "ADA@CORP.COM"])
def test_s40_domains_are_compared_without_regard_to_case(domain: str, address: str) -> None:
    assert decide(policy(allowed_domains=[domain]), applicant(email=address), KEYRING).action == "join"


def test_rules_are_asked_in_the_order_of_the_contract() -> None:
    rules: dict[str, Any] = {
        **SECRET,
        "allowed_domains": ["corp.com"],
        "lock_meeting": True,
        "require_waiting_room": True,
    }
    traits: dict[str, Any] = {**GUEST, "is_banned": True}
    repairs: list[tuple[type[DomainError], dict[str, Any], dict[str, Any]]] = [
        (errors.UserBlocked, {}, {"is_banned": False}),
        (errors.AnonymousNotAllowed, {}, {"user_id": ADA, "email": "ada@home.org"}),
        (errors.DomainNotAllowed, {}, {"email": "ada@corp.com"}),
        (errors.PasscodeRequired, {}, {"passcode": "guess"}),
        (errors.PasscodeInvalid, {}, {"passcode": "open sesame"}),
        (errors.MeetingLocked, {"lock_meeting": False}, {}),
    ]
    for refusal, rules_then, traits_then in repairs:
        assert decide(policy(**rules), applicant(**traits), KEYRING).refusal is refusal
        rules |= rules_then
        traits |= traits_then
    assert decide(policy(**rules), applicant(**traits), KEYRING) == Verdict("wait", "require_waiting_room")
