"""What somebody is called in a meeting: never what a host of it is called (S46)."""

from sqlalchemy import bindparam, select

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.names import clean_name, look_alike, marked
from shared.meetings.models import Meeting
from shared.participants.models import STAFF, Participant, participants

# What a client may write beside a name; who is called so seems to be one.
_TITLES = ("Host", "Co-host", "Cohost")

_STAFF_NAMES = select(participants.c.user_name).where(
    participants.c.meeting_id == bindparam("meeting_id"), participants.c.role.in_(STAFF)
)


def name_for(
    tx: Transaction, meeting: Meeting, actor: Actor | None, place: Participant | None, wished: str | None
) -> str:
    """Return what somebody who enters is called who wishes a name; empty when they wish none, or nothing visible.

    A wished name that reads like a host's or co-host's of the meeting gets a mark, unless it is the account's own.
    """
    name = clean_name(wished or "")
    if not name or (place is not None and place.is_staff):
        return name
    account = None if actor is None or actor.is_guest else actor
    if account is not None and name == account.name:
        return name
    taken = [row.user_name for row in tx.all(_STAFF_NAMES, {"meeting_id": meeting.id})]
    if any(look_alike(name, other) for other in (*taken, meeting.host_name, *_TITLES)):
        return marked(name, "guest" if account is None else "attendee")
    return name
