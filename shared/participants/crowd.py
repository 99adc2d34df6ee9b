"""Accounts that ask for entry at the same time, to any meetings, and get it with the same few statements.

Alone a join takes nine of them, seven while its meeting's row is held, and those of a meeting that begins stand in line
there. Here is the plain case only; whoever needs more than a seat is left to `shared.participants.service.join`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.core.batching import Held, NotTogether
from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.models import Meeting
from shared.meetings.queries import lock_meetings
from shared.meetings.service import check_running
from shared.participants.calling import name_for
from shared.participants.entering import Entrant, enter_all, take_seats
from shared.participants.locking import lock_known_places
from shared.participants.membership import find_places
from shared.participants.models import WAITING, Participant
from shared.participants.service import Admission, JoinWish, as_wished, new_place, pass_verdict
from shared.policies.cache import get_policies
from shared.policies.models import Policy


@dataclass(frozen=True, slots=True)
class Asking:
    """An account that asks for entry, and how it wants to enter."""

    meeting_id: str
    actor: Actor
    wish: JoinWish

    @property
    def pair(self) -> tuple[str, str]:
        """Return meeting and user: there is one place for both."""
        return self.meeting_id, self.actor.user_id or ""

    @property
    def is_plain(self) -> bool:
        """Tell whether there is no passcode: how often somebody tries one is counted before anything else."""
        return self.wish.passcode is None


Outcome = Admission | DomainError | NotTogether


def join_all(tx: Transaction, asking: Sequence[Asking], *, waits: bool) -> list[Outcome]:
    """Give several accounts seats, in this order; return for each what `join` returns or raises, or NotTogether:
    whoever would wait for a host, asks twice, tries a passcode or names no meeting has to ask alone.

    Locks as ADR 0018 says, and `waits` for what somebody else holds; or does not, locks streams too before the places,
    and returns Held instead. Emits ParticipantJoined. Raises NotTogether when the seats were not there after all, and
    IntegrityError as `enter_all`.
    """
    plain = [one for one in asking if one.is_plain]
    meetings = lock_meetings(tx, {one.meeting_id for one in plain}, waits=waits) if plain else {}
    places = _places(tx, plain, waits=waits) if meetings else {}
    crowd = _Crowd(meetings, get_policies(tx, meetings.values()), places)
    outcomes = [crowd.judge(tx, one) if one.is_plain else NotTogether() for one in asking]
    if crowd.seats and not take_seats(tx, crowd.seats):
        raise NotTogether
    inside = iter(enter_all(tx, crowd.entrants) if crowd.entrants else ())
    return [Admission(next(inside)) if isinstance(outcome, Entrant) else outcome for outcome in outcomes]


_Places = dict[tuple[str, str], Participant | NotTogether | None]


def _places(tx: Transaction, asking: Sequence[Asking], *, waits: bool) -> _Places:
    """Return the places there are, locked where somebody may enter; Held for those that are not to be had."""
    known = find_places(tx, {one.pair for one in asking})
    locked = lock_known_places(tx, [place.id for place in known.values() if not place.is_inside], waits=waits)
    return {pair: place if place.is_inside else locked.get(place.id, Held()) for pair, place in known.items()}


class _Crowd:
    """What is known of the meetings, and who of those who ask gets a seat: `entrants`; `seats` are those to take."""

    def __init__(self, meetings: dict[str, Meeting], policies: dict[str, Policy], places: _Places) -> None:
        self._meetings = meetings
        self._policies = policies
        self._places = places
        self.entrants: list[Entrant] = []
        self.seats: list[str] = []

    def judge(self, tx: Transaction, one: Asking) -> Entrant | Outcome:
        """Decide on somebody, after those who were there before."""
        meeting, place = self._meetings.get(one.meeting_id), self._places.get(one.pair)
        if meeting is None:
            return Held()  # or there is none, which is found out in the same way
        if isinstance(place, NotTogether):
            return place
        policy = self._policies[meeting.id]
        try:
            check_running(meeting)
            verdict = pass_verdict(tx.keyring, meeting, policy, place, one.actor, one.wish)
        except DomainError as refused:
            return refused
        if verdict is None and place is not None:
            return Admission(place)
        if verdict is None or verdict.action == "wait" or (place is not None and place.status == WAITING):
            return NotTogether()
        return self._let_in(tx, meeting, policy, place, one)

    def _let_in(
        self, tx: Transaction, meeting: Meeting, policy: Policy, place: Participant | None, one: Asking
    ) -> Entrant:
        called = name_for(tx, meeting, one.actor, place, one.wish.display_name)
        person = place or new_place(tx, meeting, one.actor, called)
        if not person.is_staff:
            self.seats.append(meeting.id)
            self._meetings[meeting.id] = replace(meeting, seats_taken=meeting.seats_taken + 1)
        self._places[one.pair] = NotTogether()  # who asks twice is answered when this is done
        entrant = Entrant(person, policy, as_wished(person, one.wish, called))
        self.entrants.append(entrant)
        return entrant
