"""Tickets: how a browser, which cannot set headers on a WebSocket, proves who it is (contract 11). One use, 30 s."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, String, Table, delete, select

from shared.core.database import METADATA, Id, UtcDateTime
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.service import check_running
from shared.participants.errors import NotInside
from shared.participants.models import JOINED, WAITING
from shared.participants.queries import Membership, get_membership

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
    membership = get_membership(tx, meeting_id, actor)
    check_running(membership.meeting)
    if membership.me.status not in (JOINED, WAITING):
        raise NotInside
    return membership


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


def redeem(tx: Transaction, meeting_id: str, ticket: str) -> Redeemed | None:
    """Use a ticket up. None when it is unknown, used, expired, or for another meeting."""
    row = tx.first(
        delete(tickets)
        .where(tickets.c.digest == _digest(ticket), tickets.c.meeting_id == meeting_id, tickets.c.expires_at > tx.now)
        .returning(tickets)
    )
    return None if row is None else Redeemed(row.participant_id, row.session_id, row.token_expires_at)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def forget_expired(tx: Transaction, limit: int = 500) -> int:
    """Delete tickets that nobody used, at most `limit`. Returns how many."""
    old = select(tickets.c.digest).where(tickets.c.expires_at <= tx.now).limit(limit)
    return tx.execute(delete(tickets).where(tickets.c.digest.in_(old))).rowcount
