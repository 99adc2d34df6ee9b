"""What a row of the audit trail says, and its canonical form."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from shared.audit.models import DONE
from shared.participants.models import Participant
from shared.realtime.envelope import timestamp

GENESIS = "0" * 64  # what the first row of a chain gives as the hash before it


@dataclass(frozen=True, slots=True)
class Party:
    """Who did something, or to whom. All None: nobody in particular, or the system."""

    participant_id: str | None = None
    user_id: str | None = None
    name: str | None = None

    @classmethod
    def of(cls, person: Participant) -> "Party":
        """Return a participant as a row names them."""
        return cls(person.id, person.user_id, person.user_name)

    def public(self) -> dict[str, str | None]:
        """Return the party as a row shows it."""
        return {"participant_id": self.participant_id, "user_id": self.user_id, "name": self.name}


NOBODY = Party()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act, done or refused. `details` are JSON values: no passcode, no address, no token, nothing that was said."""

    meeting_id: str
    kind: str
    actor: Party
    target: Party = NOBODY
    outcome: str = DONE
    details: Mapping[str, Any] = field(default_factory=dict)


def canonical(value: Any) -> str:
    """Return JSON that is the same text for the same value: sorted keys, no white space, not only ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def shown(row: Row[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the API gives it, `at` as text."""
    one = dict(row._mapping) if isinstance(row, Row) else row
    return {
        "seq": one["seq"],
        "kind": one["kind"],
        "outcome": one["outcome"],
        "actor": Party(one["actor_participant_id"], one["actor_user_id"], one["actor_name"]).public(),
        "target": Party(one["target_participant_id"], one["target_user_id"], one["target_name"]).public(),
        "details": json.loads(one["details"]),
        "at": timestamp(one["at"]),
        "previous_hash": one["previous_hash"],
    }


def hash_of(meeting_id: str, row: Row[Any] | Mapping[str, Any]) -> str:
    """Return the hash of a row: SHA-256 of the canonical JSON of what `shown` gives of it and its `meeting_id`.

    So whoever reads a trail over the API can check it.
    """
    return hashlib.sha256(canonical({"meeting_id": meeting_id, **shown(row)}).encode()).hexdigest()
