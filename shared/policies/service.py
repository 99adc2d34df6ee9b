"""Policies as rows."""

from collections.abc import Mapping
from typing import Any

from shared.core.errors import ValidationFailed
from shared.core.transaction import Transaction
from shared.policies.models import DEFAULTS, HOST, NONE, policies


def create_policy(tx: Transaction, meeting_id: str, wishes: Mapping[str, Any]) -> None:
    """Give a new meeting its policy: the defaults, and what its creator wished. Raises ValidationFailed."""
    wanted = dict(wishes)
    passcode = wanted.pop("passcode", None)
    rules = {**DEFAULTS, "max_participants": tx.settings.meeting_max_participants, **wanted}
    if rules["require_password"] and not passcode:
        raise ValidationFailed(details={"policy": ["require_password needs a passcode."]})
    hashed = tx.keyring.hash_passcode(passcode) if passcode else None
    tx.execute(
        policies.insert().values(meeting_id=meeting_id, version=1, updated_at=tx.now, passcode_hash=hashed, **rules)
    )


def permits(permission: str, *, is_staff: bool) -> bool:
    """Tell whether a permission of the kind host|all|none covers somebody."""
    if permission == NONE:
        return False
    return is_staff or permission != HOST
