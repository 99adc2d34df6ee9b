"""Invitations: a place for people with an account, a promise for addresses without one."""

from collections.abc import Iterable

from sqlalchemy import delete, select

from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.identity.models import users
from shared.participants.errors import ParticipantExists
from shared.participants.models import ATTENDEE, Participant, invitations
from shared.participants.moderation_events import PeopleInvited
from shared.participants.service import add_place


def invite(tx: Transaction, by: Participant, host_email: str | None, emails: Iterable[str]) -> None:
    """Invite addresses to the meeting of the person `by`, who does it. Emits PeopleInvited.

    Raises ParticipantExists when one stands there twice, or is the host's.
    """
    meeting_id = by.meeting_id
    people: list[Participant | None] = []
    seen = {(host_email or "").lower()}
    for email in (e.lower() for e in emails):
        if email in seen:
            raise ParticipantExists(details={"email": email})
        seen.add(email)
        user = tx.first(select(users.c.id, users.c.name).where(users.c.email == email))
        if user is not None:
            people.append(add_place(tx, meeting_id, user.id, user.name, ATTENDEE))
        else:
            people.append(None)
            tx.execute(invitations.insert().values(id=new_id(), meeting_id=meeting_id, email=email, created_at=tx.now))
    tx.emit(PeopleInvited(meeting_id=meeting_id, by=by, people=tuple(people)))


def redeem(tx: Transaction, user_id: str, email: str, name: str) -> None:
    """Turn the invitations of an address into places, now that it has an account."""
    for row in tx.all(select(invitations.c.meeting_id).where(invitations.c.email == email)):
        add_place(tx, row.meeting_id, user_id, name, ATTENDEE)
    tx.execute(delete(invitations).where(invitations.c.email == email))
