"""Who may open the WebSocket (contract 11): many who come at once are judged with the same few statements.

A process that restarts sends all of its people to the others in one second (promises P12); asked one by one, five
questions each, the database would be what they wait for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import TokenRevoked, Unauthenticated
from shared.identity.service import find_actors
from shared.meetings.errors import MeetingNotFound
from shared.participants import tickets
from shared.participants.membership import Membership, memberships_by_id, memberships_by_user
from shared.participants.tickets import Redeemed, check_listener


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who wants to hear a meeting, and by what: a ticket; a user's session; or a guest's place.

    `guest_of` is the meeting that a guest's token is for.
    """

    meeting_id: str
    ticket: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    participant_id: str | None = None
    guest_of: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who may hear a meeting. `token_expires_at` is set when a ticket was used: of what had fetched it."""

    actor: Actor
    membership: Membership
    token_expires_at: datetime | None = None


def receive(tx: Transaction, arrivals: Sequence[Arrival]) -> list[Listener | DomainError]:
    """Judge people who arrive; return for each who it is, or the refusal. A ticket is used up.

    Refusals are Unauthenticated (the ticket), TokenRevoked, and what `tickets.check_listener` raises.
    """
    redeemed = tickets.redeem(tx, [(one.meeting_id, one.ticket) for one in arrivals if one.ticket is not None])
    known = _Known.find(tx, arrivals, list(redeemed.values()))
    outcomes: list[Listener | DomainError] = []
    for one in arrivals:
        try:
            if one.ticket is None:
                outcomes.append(_judge(known, one))
            else:
                outcomes.append(_judge_ticket(known, one, redeemed.pop((one.meeting_id, one.ticket), None)))
        except DomainError as refusal:
            outcomes.append(refusal)
    return outcomes


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database says of all of them: users by session, places by id, and by meeting and user."""

    actors: dict[str, Actor]
    by_id: dict[str, Membership]
    by_user: dict[tuple[str, str], Membership]

    @classmethod
    def find(cls, tx: Transaction, arrivals: Sequence[Arrival], redeemed: Sequence[Redeemed]) -> "_Known":
        said: list[Arrival | Redeemed] = [*arrivals, *redeemed]
        sessions = {one.session_id for one in said if one.session_id is not None}
        places = {one.participant_id for one in said if one.participant_id is not None}
        users = {(one.meeting_id, one.user_id) for one in arrivals if one.user_id is not None}
        return cls(find_actors(tx, sessions), memberships_by_id(tx, places), memberships_by_user(tx, users))


def _judge(known: _Known, one: Arrival) -> Listener:
    if one.session_id is not None and one.user_id is not None:
        actor = known.actors.get(one.session_id)
        if actor is None or actor.user_id != one.user_id:
            raise TokenRevoked
        return Listener(actor, _listening(known.by_user.get((one.meeting_id, one.user_id))))
    place = known.by_id.get(one.participant_id or "")
    if place is None or place.meeting.id != one.guest_of or place.me.user_id is not None:
        raise TokenRevoked
    return Listener(_guest(place), _listening(place if one.guest_of == one.meeting_id else None))


def _judge_ticket(known: _Known, one: Arrival, ticket: Redeemed | None) -> Listener:
    if ticket is None:
        raise Unauthenticated("This ticket is unknown, used or expired.")
    place = known.by_id.get(ticket.participant_id)
    if ticket.session_id is not None:
        actor = known.actors.get(ticket.session_id)
        if actor is None:
            raise TokenRevoked
    else:
        actor = _guest(place) if place is not None else None
    listening = _listening(place)
    assert actor is not None
    return Listener(actor, listening, ticket.token_expires_at)


def _guest(place: Membership) -> Actor:
    return Actor(name=place.me.user_name, participant_id=place.me.id, meeting_id=place.meeting.id)


def _listening(membership: Membership | None) -> Membership:
    if membership is None:
        raise MeetingNotFound
    check_listener(membership)
    return membership
