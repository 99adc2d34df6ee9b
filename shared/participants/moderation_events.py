"""What hosts and co-hosts did to others: one event for each act, heard by listeners only.

Beside them stand the events that tell clients what is different now; of those an act may have several, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.core.messages import Event
from shared.participants.models import Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act(Event):
    """`by` is who did it."""

    meeting_id: str
    by: Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged(_Act):
    """Somebody's role, flags or rights were set. `changes` names them, `before` and `after` are the whole person."""

    before: Participant
    after: Participant
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyChangesOrdered(_Act):
    """Flags or rights of many were ordered to be set; `wish` is what a job of the `kind` does, on about so many."""

    job_id: str
    kind: str
    total: int
    wish: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonPutOut(_Act):
    """Somebody was removed, or banned."""

    target: Participant
    ban: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BanSpread(Event):
    """Somebody was banned from this meeting with another one of its series, by the user `actor_id`."""

    meeting_id: str
    target: Participant
    actor_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitersAdmitted(_Act):
    """People were let in from the waiting room."""

    people: tuple[Participant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitersDenied(_Act):
    """People were turned away from the waiting room."""

    people: tuple[Participant, ...]
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitersAddressed(_Act):
    """Something was said to all who wait, so many."""

    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSentBack(_Act):
    """Somebody was sent back to the waiting room."""

    target: Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleInvited(_Act):
    """People were invited; None stands for an address that has no account yet."""

    people: tuple[Participant | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAccredited(Event):
    """Somebody without an account was given a place, and with it a token for this meeting."""

    guest: Participant
