"""Membership: who somebody is in a meeting, and whether that is enough for what they want."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, select

from shared.core.ids import is_id
from shared.core.ledger import streams
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.models import users
from shared.meetings.errors import MeetingNotFound
from shared.meetings.models import Meeting, meetings
from shared.meetings.queries import MEETING, OF_MEETING
from shared.meetings.service import check_running
from shared.participants.errors import NotInside
from shared.participants.models import DENIED, JOINED, REMOVED, STAFF, WAITING, Participant, participants
from shared.participants.permissions import Permission, demand

# Which place is the actor's, by whether the actor is a guest. Its value is `_who(actor)`.
_MINE = {True: participants.c.id == bindparam("who"), False: participants.c.user_id == bindparam("who")}

_PLACE = {
    is_guest: select(participants).where(participants.c.meeting_id == bindparam("meeting_id"), mine)
    for is_guest, mine in _MINE.items()
}

# A meeting and a place in it, in one query: every door asks for both.
_MEETING_AND_PLACE = (
    select(
        *(users.c.name if name == "host_name" else meetings.c[name] for name in Meeting.__slots__),
        *(participants.c[name] for name in Participant.__slots__),
    )
    .join(users, users.c.id == meetings.c.host_id)
    .join(participants, participants.c.meeting_id == meetings.c.id)
)
_MEMBERSHIP = {
    is_guest: _MEETING_AND_PLACE.where(meetings.c.id == bindparam("meeting_id"), mine)
    for is_guest, mine in _MINE.items()
}


@dataclass(frozen=True, slots=True)
class Membership:
    """An actor's place in a meeting, and the meeting."""

    meeting: Meeting
    me: Participant


def find_place(tx: Transaction, meeting_id: str, actor: Actor) -> Participant | None:
    """Return the actor's place in a meeting, whatever its status, or None."""
    row = tx.first(_PLACE[actor.is_guest], {"meeting_id": meeting_id, "who": _who(actor)})
    return None if row is None else Participant.of(row)


_PLACES = select(participants).where(
    one_of(participants.c.meeting_id, "meetings"), one_of(participants.c.user_id, "users")
)


def find_places(tx: Transaction, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], Participant]:
    """Return places by pairs of meeting and user, whatever their status."""
    meeting_ids, user_ids = ({pair[n] for pair in pairs} for n in (0, 1))
    # Of several, some may be in each other's meetings: those places are found too, and not asked for.
    found = map(Participant.of, tx.all(_PLACES, {"meetings": meeting_ids, "users": user_ids}))
    return {(one.meeting_id, one.user_id or ""): one for one in found}


def _who(actor: Actor) -> str:
    return actor.user_id or actor.participant_id or ""


def get_membership(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the meeting and the actor's place in it.

    Raises MeetingNotFound alike for a meeting that does not exist and for one that is none of the actor's business:
    strangers, removed and denied people (contract 2).
    """
    row = None
    if is_id(meeting_id):
        row = tx.first(_MEMBERSHIP[actor.is_guest], {"meeting_id": meeting_id, "who": _who(actor)})
    if row is None:
        raise MeetingNotFound
    membership = _membership_of(row)
    check_member(membership)
    return membership


def check_member(membership: Membership) -> None:
    """Raise MeetingNotFound when this is a removed or denied person: to them the meeting is as to a stranger."""
    if membership.me.status in (REMOVED, DENIED):
        raise MeetingNotFound


_MEMBERSHIPS_BY_ID = _MEETING_AND_PLACE.where(one_of(participants.c.id, "ids"))
_MEMBERSHIPS_BY_USER = _MEETING_AND_PLACE.where(
    one_of(participants.c.meeting_id, "meetings"), one_of(participants.c.user_id, "users")
)


def memberships_by_id(tx: Transaction, participant_ids: Collection[str]) -> dict[str, Membership]:
    """Return places in meetings by their ids, whatever their status."""
    if not participant_ids:
        return {}
    found = map(_membership_of, tx.all(_MEMBERSHIPS_BY_ID, {"ids": list(participant_ids)}))
    return {one.me.id: one for one in found}


_MEMBERSHIPS_TO_TELL = _MEMBERSHIPS_BY_USER.join(streams, OF_MEETING).with_for_update(
    of=streams, key_share=True, skip_locked=True
)


def memberships_by_user(
    tx: Transaction, pairs: Collection[tuple[str, str]], *, to_tell: bool = False
) -> dict[tuple[str, str], Membership]:
    """Return places in meetings by pairs of meeting and user, whatever their status. Malformed ids find nothing.

    `to_tell` locks the streams of the meetings until the commit, without waiting: those where somebody else speaks at
    this moment, and those that have no stream yet, are left out.
    """
    wanted = [pair for pair in pairs if is_id(pair[0])]
    if not wanted:
        return {}
    # Of several, some may be in each other's meetings: those places are found too, and not asked for.
    meeting_ids, user_ids = map(set, zip(*wanted, strict=True))
    query = _MEMBERSHIPS_TO_TELL if to_tell else _MEMBERSHIPS_BY_USER
    found = map(_membership_of, tx.all(query, {"meetings": meeting_ids, "users": user_ids}))
    return {(one.meeting.id, one.me.user_id or ""): one for one in found}


def _membership_of(row: Row[Any]) -> Membership:
    split = len(Meeting.__slots__)
    return Membership(Meeting(*row[:split]), Participant(*row[split:]))


def get_permitted(tx: Transaction, meeting_id: str, actor: Actor, permission: Permission) -> Membership:
    """Return the membership of somebody who has a permission. Raises as `get_membership` and `check_permitted`."""
    membership = get_membership(tx, meeting_id, actor)
    check_permitted(membership, permission)
    return membership


def check_permitted(membership: Membership, permission: Permission) -> None:
    """Raise what keeps somebody from what a permission allows.

    MeetingNotFound (removed, denied), MeetingNotActive, MeetingEnded, InvalidMeetingState and NotInside by where they
    are, InsufficientPermission by their role.
    """
    check_member(membership)
    me = membership.me
    if permission.where == "inside":
        check_inside(membership)
    elif permission.where == "listener":
        check_running(membership.meeting)
        if me.status not in (JOINED, WAITING):
            raise NotInside
    elif permission.where == "reader" and not (me.is_inside or me.was_inside or me.role in STAFF):
        raise NotInside
    demand(me, permission)


def get_inside(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the membership of somebody who is in the running meeting.

    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, InvalidMeetingState, NotInside.
    """
    membership = get_membership(tx, meeting_id, actor)
    check_inside(membership)
    return membership


def check_inside(membership: Membership) -> None:
    """Raise as `get_inside` when this is nobody who is in the running meeting."""
    check_member(membership)
    check_running(membership.meeting)
    if not membership.me.is_inside:
        raise NotInside


def my_meetings(actor: Actor, status: str | None, before_id: str | None, limit: int) -> Select[Any]:
    """Return the query for the meetings the actor hosts, joined or is invited to, newest first."""
    query = (
        MEETING.join(participants, participants.c.meeting_id == meetings.c.id)
        .where(_MINE[actor.is_guest], participants.c.status.not_in((REMOVED, DENIED)))
        .params(who=_who(actor))
        .order_by(meetings.c.id.desc())
        .limit(limit)
    )
    if status is not None:
        query = query.where(meetings.c.status == status)
    return query if before_id is None else query.where(meetings.c.id < before_id)
