"""Bans over a series of meetings (S41): who is banned from one of them gets into none of them.

A ban is a place in a meeting, which every door asks for; so a banned account gets such a place in each. Guests have
no account by which the next meeting could know them: what keeps them out is its waiting room.
"""

from sqlalchemy import func, select

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.models import CANCELLED, COMPLETED, Meeting, meetings
from shared.meetings.queries import lock_series
from shared.participants.events import ParticipantBanned
from shared.participants.membership import find_place
from shared.participants.models import ATTENDEE, STAFF, participants
from shared.participants.moderation import put_out
from shared.participants.moderation_events import BanSpread
from shared.participants.service import add_place


def ban_everywhere(tx: Transaction, event: ParticipantBanned) -> None:
    """Ban who was banned from one meeting from the others of its series, but where they are a host or co-host.

    The caller holds the rows of the series, so that none is added meanwhile. Emits what `put_out` emits, and BanSpread.
    """
    person = event.participant
    if event.meeting.series_id is None or person.user_id is None:
        return
    for other in lock_series(tx, event.meeting.series_id):
        if other.id != event.meeting.id and other.status not in (COMPLETED, CANCELLED):
            _ban(tx, other, person.user_id, person.user_name, event.actor_id)


def inherit_bans(tx: Transaction, meeting: Meeting) -> None:
    """Ban from a new meeting who is banned from another of its series; that one's row is locked by who made it."""
    banned = (
        select(participants.c.user_id, func.max(participants.c.user_name).label("user_name"))
        .join(meetings, meetings.c.id == participants.c.meeting_id)
        .where(
            meetings.c.series_id == meeting.series_id,
            participants.c.is_banned,
            participants.c.user_id.is_not(None),
        )
        .group_by(participants.c.user_id)
        .order_by(participants.c.user_id)
    )
    for row in tx.all(banned):
        _ban(tx, meeting, row.user_id, row.user_name, meeting.host_id)


def _ban(tx: Transaction, meeting: Meeting, user_id: str, name: str, actor_id: str | None) -> None:
    place = find_place(tx, meeting.id, Actor(name=name, user_id=user_id))
    place = place or add_place(tx, meeting.id, user_id, name, ATTENDEE)
    if place.role not in STAFF and not place.is_banned:
        out = put_out(tx, place, ban=True, actor_id=actor_id)
        tx.emit(BanSpread(meeting_id=meeting.id, target=out, actor_id=actor_id))
