"""Reading participants: who somebody is in a meeting, and what they may see."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, or_, select

from shared.core import ledger
from shared.core.errors import InsufficientPermission
from shared.core.ids import is_id
from shared.core.lists import one_of
from shared.core.streams import hosts_stream, meeting_stream, personal_stream, wire_name
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.models import users
from shared.meetings.errors import MeetingNotFound
from shared.meetings.models import Meeting, meetings
from shared.meetings.service import check_running
from shared.participants.errors import NotInside, ParticipantNotFound
from shared.participants.models import (
    ATTENDEE,
    DENIED,
    INVITED,
    JOINED,
    LEFT,
    REMOVED,
    WAITING,
    Participant,
    participants,
    stays,
)

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
    if membership.me.status in (REMOVED, DENIED):
        raise MeetingNotFound
    return membership


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


def memberships_by_user(tx: Transaction, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], Membership]:
    """Return places in meetings by pairs of meeting and user, whatever their status. Malformed ids find nothing."""
    wanted = [pair for pair in pairs if is_id(pair[0])]
    if not wanted:
        return {}
    # Of several, some may be in each other's meetings: those places are found too, and not asked for.
    meeting_ids, user_ids = map(set, zip(*wanted, strict=True))
    found = map(_membership_of, tx.all(_MEMBERSHIPS_BY_USER, {"meetings": meeting_ids, "users": user_ids}))
    return {(one.meeting.id, one.me.user_id or ""): one for one in found}


def _membership_of(row: Row[Any]) -> Membership:
    split = len(Meeting.__slots__)
    return Membership(Meeting(*row[:split]), Participant(*row[split:]))


def get_staff(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the membership of a host or co-host. Raises MeetingNotFound, InsufficientPermission."""
    membership = get_membership(tx, meeting_id, actor)
    if not membership.me.is_staff:
        raise InsufficientPermission("Only hosts and co-hosts may do this.")
    return membership


def get_host(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the membership of a host. Raises MeetingNotFound, InsufficientPermission."""
    membership = get_membership(tx, meeting_id, actor)
    if membership.me.role != "host":
        raise InsufficientPermission("Only the host may do this.")
    return membership


def get_inside(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the membership of somebody who is in the running meeting.

    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, InvalidMeetingState, NotInside.
    """
    membership = get_membership(tx, meeting_id, actor)
    check_inside(membership)
    return membership


def check_inside(membership: Membership) -> None:
    """Raise as `get_inside` when this is nobody who is in the running meeting."""
    if membership.me.status in (REMOVED, DENIED):
        raise MeetingNotFound
    check_running(membership.meeting)
    if not membership.me.is_inside:
        raise NotInside


def get_reader(tx: Transaction, meeting_id: str, actor: Actor) -> Membership:
    """Return the membership of somebody who may read what happened inside: who is or was there, and hosts.

    Raises MeetingNotFound, NotInside (invited, waiting, gone from the waiting room).
    """
    membership = get_membership(tx, meeting_id, actor)
    me = membership.me
    if not (me.is_inside or me.was_inside or me.is_staff):
        raise NotInside
    return membership


_PARTICIPANT = select(participants).where(
    participants.c.id == bindparam("participant_id"), participants.c.meeting_id == bindparam("meeting_id")
)


def get_participant(tx: Transaction, meeting_id: str, participant_id: str) -> Participant:
    """Return a participant of this meeting. Raises ParticipantNotFound."""
    row = None
    if is_id(participant_id):
        row = tx.first(_PARTICIPANT, {"participant_id": participant_id, "meeting_id": meeting_id})
    if row is None:
        raise ParticipantNotFound
    return Participant.of(row)


def roster(me: Participant, statuses: list[str] | None, after_id: str, limit: int) -> Select[Any]:
    """Return the query for the participants `me` may see, in the order of their ids.

    Attendees see who is or was inside; the other states, and who only waited, are for hosts and co-hosts.
    """
    visible = {INVITED, WAITING, JOINED, LEFT, REMOVED, DENIED} if me.is_staff else {JOINED, LEFT}
    wanted = visible & set(statuses) if statuses else visible
    query = (
        select(participants)
        .where(
            participants.c.meeting_id == me.meeting_id,
            participants.c.status.in_(sorted(wanted)),
            participants.c.id > after_id,
        )
        .order_by(participants.c.id)
        .limit(limit)
    )
    return query if me.is_staff else query.where(participants.c.joined_at.is_not(None))


def hands(tx: Transaction, meeting_id: str) -> list[Participant]:
    """Return whose hands are up, in the order they went up."""
    rows = tx.all(
        select(participants)
        .where(
            participants.c.meeting_id == meeting_id,
            participants.c.status == JOINED,
            participants.c.is_hand_raised,
        )
        .order_by(participants.c.hand_raised_at, participants.c.id)
    )
    return [Participant.of(row) for row in rows]


def counts(tx: Transaction, meeting_id: str) -> dict[str, int]:
    """Return how many participants have each status."""
    rows = tx.all(
        select(participants.c.status, func.count().label("n"))
        .where(participants.c.meeting_id == meeting_id)
        .group_by(participants.c.status)
    )
    return {row.status: int(row.n) for row in rows}


def attendance(tx: Transaction, meeting_id: str) -> int:
    """Return how many people have ever been inside."""
    return int(
        tx.scalar(select(func.count(func.distinct(stays.c.participant_id))).where(stays.c.meeting_id == meeting_id))
    )


def waiting_position(tx: Transaction, meeting_id: str, waiting_since: datetime, participant_id: str) -> int:
    """Return somebody's place in the queue, 1 for the first."""
    ahead = tx.scalar(
        select(func.count())
        .select_from(participants)
        .where(
            participants.c.meeting_id == meeting_id,
            participants.c.status == WAITING,
            or_(
                participants.c.waiting_since < waiting_since,
                and_(participants.c.waiting_since == waiting_since, participants.c.id < participant_id),
            ),
        )
    )
    return int(ahead) + 1


def my_meetings(actor: Actor, status: str | None, before_id: str | None, limit: int) -> Select[Any]:
    """Return the query for the meetings the actor hosts, joined or is invited to, newest first."""
    from shared.meetings.queries import MEETING

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


def audible_streams(me: Participant) -> list[str]:
    """Return the keys of the streams a participant hears now."""
    mine = [personal_stream(me.id)]
    if me.is_inside:
        mine.insert(0, meeting_stream(me.meeting_id))
        if me.is_staff:
            mine.append(hosts_stream(me.meeting_id))
    return mine


def cursors(tx: Transaction, me: Participant) -> dict[str, int]:
    """Return the heads of the streams somebody may read, by wire name. Hosts may read theirs from outside too."""
    keys = audible_streams(me)
    if me.is_staff or me.was_inside:
        keys = sorted({*keys, meeting_stream(me.meeting_id), *([hosts_stream(me.meeting_id)] if me.is_staff else [])})
    return {wire_name(key): seq for key, seq in ledger.heads(tx.connection, keys).items()}


def was_there(me: Participant, seq: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that `me` was inside when the meeting's stream stood at `seq`.

    Hosts and co-hosts answer for the whole meeting and see all of it.
    """
    if me.role != ATTENDEE:
        return seq >= 0
    return (
        select(stays.c.id)
        .where(
            stays.c.participant_id == me.id,
            stays.c.entered_seq <= seq,
            or_(stays.c.left_seq.is_(None), stays.c.left_seq >= seq),
        )
        .exists()
    )


_ENTRIES = (
    select(stays.c.participant_id, stays.c.entered_seq)
    .where(one_of(stays.c.participant_id, "people"))
    .order_by(stays.c.entered_seq)
)


def entries_of(tx: Transaction, participant_ids: Collection[str]) -> dict[str, list[int]]:
    """Return at which numbers of the meeting's stream people came in, the latest last; nobody who never was inside."""
    entries: dict[str, list[int]] = {}
    for row in tx.all(_ENTRIES, {"people": list(participant_ids)}):
        entries.setdefault(row.participant_id, []).append(int(row.entered_seq))
    return entries


def may_resume(me: Participant, entries: Sequence[int], seq: int) -> bool:
    """Tell whether everything behind `seq` on the meeting's stream happened while `me` was inside (contract 11).

    A host who enters for the first time may start at any number: nothing was missed by being out.
    """
    if not entries:
        return False
    return seq >= entries[-1] - 1 or (me.is_staff and len(entries) == 1)
