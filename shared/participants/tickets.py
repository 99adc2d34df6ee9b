"""Tickets: how a browser, which cannot set headers on a WebSocket, proves who it is (contract 11). One use, 30 s."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, String, Table, bindparam, delete, select, tuple_

from shared.core.database import METADATA, Id, UtcDateTime
from shared.core.ids import is_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.participants.membership import Membership, check_permitted, get_permitted
from shared.participants.permissions import MEETING_LISTEN

TICKET_SECONDS = 30

# Only a hash is kept: who can read the database cannot use what is in it.
tickets = Table(
    "ws_tickets",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("meeting_id", Id, nullable=False),
    Column("participant_id", Id, nullable=False),
    Column("session_id", Id),
    Column("token_expires_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Redeemed:
    """Whose ticket it was. `session_id` and `token_expires_at` are those of the credential that fetched it."""

    participant_id: str
    session_id: str | None
    token_expires_at: datetime


def get_listener(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the membership of somebody who may open the WebSocket: inside, or in the waiting room.

    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, InvalidMeetingState, NotInside.
    """
    return get_permitted(tx, meeting_id, actor, MEETING_LISTEN)


def check_listener(membership: Membership) -> None:
    """Raise as `get_listener` when this is nobody who may open the WebSocket."""
    check_permitted(membership, MEETING_LISTEN)


def issue(tx: Transaction, meeting_id: str, actor: Actor, token_expires_at: datetime) -> str:
    """Return a fresh ticket for the actor's WebSocket in this meeting. Raises as `get_listener`."""
    me = get_listener(tx, meeting_id, actor).me
    ticket = secrets.token_urlsafe(24)
    tx.execute(
        tickets.insert().values(
            digest=_digest(ticket),
            meeting_id=meeting_id,
            participant_id=me.id,
            session_id=actor.session_id,
            token_expires_at=token_expires_at,
            expires_at=tx.now + timedelta(seconds=TICKET_SECONDS),
        )
    )
    return ticket


_REDEEM = (
    delete(tickets)
    .where(
        tuple_(tickets.c.digest, tickets.c.meeting_id).in_(bindparam("pairs", expanding=True)),
        tickets.c.expires_at > bindparam("now"),
    )
    .returning(tickets)
)


def redeem(tx: Transaction, presented: Collection[tuple[str, str]]) -> dict[tuple[str, str], Redeemed]:
    """Use tickets up, given as pairs of meeting and ticket; those are missing from the answer that are unknown, used,
    expired, or for another meeting. What is no id reaches no database: it would refuse all of them because of one."""
    pairs = {
        (_digest(ticket), meeting_id): (meeting_id, ticket) for meeting_id, ticket in presented if is_id(meeting_id)
    }
    if not pairs:
        return {}
    return {
        pairs[row.digest, row.meeting_id]: Redeemed(row.participant_id, row.session_id, row.token_expires_at)
        for row in tx.all(_REDEEM, {"pairs": list(pairs), "now": tx.now})
    }


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def forget_expired(tx: Transaction, limit: int = 500) -> int:
    """Delete tickets that nobody used, at most `limit`. Returns how many."""
    old = select(tickets.c.digest).where(tickets.c.expires_at <= tx.now).limit(limit)
    return tx.execute(delete(tickets).where(tickets.c.digest.in_(old))).rowcount
