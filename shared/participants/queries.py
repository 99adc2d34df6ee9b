"""Reading participants: what somebody may see of the others, and of what happened."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select

from shared.core import ledger
from shared.core.ids import is_id
from shared.core.lists import one_of
from shared.core.streams import hosts_stream, meeting_stream, personal_stream, wire_name
from shared.core.transaction import Transaction
from shared.participants.errors import ParticipantNotFound
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
from shared.participants.permissions import EVENTS_READ_HOSTS, PARTICIPANTS_LIST_ALL, may

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
    sees_all = may(me, PARTICIPANTS_LIST_ALL)
    visible = {INVITED, WAITING, JOINED, LEFT, REMOVED, DENIED} if sees_all else {JOINED, LEFT}
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
    return query if sees_all else query.where(participants.c.joined_at.is_not(None))


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


def audible_streams(me: Participant) -> list[str]:
    """Return the keys of the streams a participant hears now."""
    mine = [personal_stream(me.id)]
    if me.is_inside:
        mine.insert(0, meeting_stream(me.meeting_id))
        if may(me, EVENTS_READ_HOSTS):
            mine.append(hosts_stream(me.meeting_id))
    return mine


def cursors(tx: Transaction, me: Participant) -> dict[str, int]:
    """Return the heads of the streams somebody may read, by wire name. Hosts may read theirs from outside too."""
    keys = audible_streams(me)
    hears_hosts = may(me, EVENTS_READ_HOSTS)
    if hears_hosts or me.was_inside:
        keys = sorted({*keys, meeting_stream(me.meeting_id), *([hosts_stream(me.meeting_id)] if hears_hosts else [])})
    return {wire_name(key): seq for key, seq in ledger.heads(tx.connection, keys).items()}


def was_there(me: Participant, seq: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that `me` was inside when the meeting's stream stood at `seq`.

    Hosts and co-hosts answer for the whole meeting and see all of it.
    """
    return seq >= 0 if me.role != ATTENDEE else _stayed(me.id, seq)


def somebody_was_there(seq: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition of `was_there` for whoever the row of `participants` in the same query is."""
    return or_(participants.c.role != ATTENDEE, _stayed(participants.c.id, seq))


def _stayed(whose: Any, seq: ColumnElement[Any]) -> ColumnElement[bool]:
    return (
        select(stays.c.id)
        .where(
            stays.c.participant_id == whose,
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
