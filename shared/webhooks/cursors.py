"""Cursors: how far each meeting was sent to each endpoint. The ledger is the queue, so a row here is all there is.

A cursor is made when there is something to tell: with the first event of a meeting that endpoints are told of, when an
endpoint is made while its user hosts a running meeting, when somebody becomes a host. No chat message and no join
writes here.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, or_, select, tuple_, update

from shared.core import ledger, tombstones
from shared.core.streams import meeting_stream
from shared.core.transaction import Transaction
from shared.identity.models import users
from shared.meetings.models import CANCELLED, COMPLETED, IN_PROGRESS, Meeting, meetings
from shared.participants.models import DENIED, HOST, REMOVED, participants
from shared.webhooks.models import Endpoint, cursors, endpoints

IS_HOST = (participants.c.role == HOST) & participants.c.status.not_in((REMOVED, DENIED))


def begin_for_meeting(tx: Transaction, meeting_id: str, *, behind: int = 0, user_id: str | None = None) -> None:
    """Have the endpoints of a meeting's hosts (or of one of them) told of it, if they are not yet.

    From now on, and of the last `behind` events too. The caller has the meeting's stream locked, or does not mind.
    """
    stream = meeting_stream(meeting_id)
    wanted = (
        select(endpoints.c.id)
        .join(participants, (participants.c.user_id == endpoints.c.user_id) & IS_HOST)
        .where(
            participants.c.meeting_id == meeting_id,
            or_(endpoints.c.meeting_id.is_(None), endpoints.c.meeting_id == meeting_id),
        )
    )
    if user_id is not None:
        wanted = wanted.where(endpoints.c.user_id == user_id)
    ids = [row.id for row in tx.all(wanted.order_by(endpoints.c.id))]
    if not ids:
        return
    head = ledger.heads(tx.connection, [stream])[stream]
    for endpoint_id in ids:
        _begin(tx, endpoint_id, meeting_id, max(0, head - behind))


def end_for_user(tx: Transaction, meeting_id: str, user_id: str) -> None:
    """Tell the endpoints of somebody who is no host any more nothing further of a meeting."""
    theirs = select(endpoints.c.id).where(endpoints.c.user_id == user_id)
    tx.execute(
        update(cursors)
        .where(cursors.c.meeting_id == meeting_id, cursors.c.endpoint_id.in_(theirs))
        .values(due_at=None, run=None, leased_until=None)
    )


def begin_for_endpoint(tx: Transaction, endpoint: Endpoint) -> None:
    """Have a new endpoint told of what goes on in the running meetings that it is for, from now on."""
    running = (
        select(participants.c.meeting_id)
        .join(meetings, meetings.c.id == participants.c.meeting_id)
        .where(participants.c.user_id == endpoint.user_id, IS_HOST, meetings.c.status == IN_PROGRESS)
        .order_by(participants.c.meeting_id)
    )
    if endpoint.meeting_id is not None:
        running = running.where(participants.c.meeting_id == endpoint.meeting_id)
    ids = [row.meeting_id for row in tx.all(running)]
    heads = ledger.heads(tx.connection, map(meeting_stream, ids))
    for meeting_id in ids:
        _begin(tx, endpoint.id, meeting_id, heads[meeting_stream(meeting_id)])


def _begin(tx: Transaction, endpoint_id: str, meeting_id: str, seq: int) -> None:
    """Begin behind `seq`; a cursor that is there goes on where it was, but if it was at its end."""
    new = tx.insert(cursors).values(
        endpoint_id=endpoint_id,
        meeting_id=meeting_id,
        stream=meeting_stream(meeting_id),
        seq=seq,
        attempts=0,
        since=tx.now,
        due_at=tx.now,
    )
    again = {
        "due_at": func.coalesce(cursors.c.due_at, new.excluded.due_at),
        "seq": case((cursors.c.due_at.is_(None), new.excluded.seq), else_=cursors.c.seq),
    }
    tx.execute(new.on_conflict_do_update(index_elements=["endpoint_id", "meeting_id"], set_=again))


def take_back(tx: Transaction, endpoint_id: str, *, anew: bool) -> None:
    """Take an endpoint's cursors from those who are sending; `anew` lets what failed begin from here.

    The caller has the endpoint locked.
    """
    waiting = (cursors.c.endpoint_id == endpoint_id, cursors.c.due_at.is_not(None))
    values: dict[str, Any] = {"run": None, "leased_until": None}
    if anew:
        values |= {"attempts": 0, "since": tx.now, "due_at": tx.now}
    tx.execute(update(cursors).where(*waiting).values(**values))


def rewind(tx: Transaction, endpoint_id: str, meeting: Meeting, from_seq: int) -> int | None:
    """Have a meeting sent again from `from_seq` on. Returns its last number; None when it has no such event yet.

    The caller has the endpoint locked. Locks the stream of one that is over: nothing is archived that is to be sent.
    While it runs nothing is archived, and whoever changes a role locks the cursor first (docs/adr/0018). Raises
    EventsArchived.
    """
    meeting_id = meeting.id
    stream = meeting_stream(meeting_id)
    if meeting.ended_at is not None:
        ledger.hold(tx.connection, [stream])
    head = ledger.heads(tx.connection, [stream])[stream]
    if from_seq > head:
        return None
    tombstones.check_kept(tx.connection, stream, from_seq - 1)
    _begin(tx, endpoint_id, meeting_id, from_seq - 1)
    key = (cursors.c.endpoint_id == endpoint_id, cursors.c.meeting_id == meeting_id)
    changes = {"attempts": 0, "since": tx.now, "due_at": tx.now, "run": None, "leased_until": None}
    tx.execute(update(cursors).where(*key).values(**changes))
    tx.execute(update(cursors).where(*key, cursors.c.seq >= from_seq).values(seq=from_seq - 1))
    return head


def is_owed(meeting_id: ColumnElement[str] | str, now: datetime) -> ColumnElement[bool]:
    """Return the condition that endpoints are still to be told events of a meeting: somebody is being told, or would
    be if their endpoint was switched on, and that for less than the 24 hours after which events are given up.
    """
    hosts = (
        exists()
        .where(participants.c.meeting_id == cursors.c.meeting_id, participants.c.user_id == users.c.id, IS_HOST)
        .correlate(cursors, users)
    )
    is_told = and_(endpoints.c.is_enabled, users.c.is_active, hosts)
    return (
        exists()
        .where(
            cursors.c.meeting_id == meeting_id,
            cursors.c.due_at.is_not(None),
            ledger.streams.c.key == cursors.c.stream,
            ledger.streams.c.seq > cursors.c.seq,
            endpoints.c.id == cursors.c.endpoint_id,
            users.c.id == endpoints.c.user_id,
            or_(is_told, cursors.c.since > now - ledger.WINDOW),
        )
        .correlate_except(cursors, ledger.streams, endpoints, users)
    )


def forget_meeting(tx: Transaction, meeting_id: str) -> None:
    """Delete the cursors of a meeting whose events are no longer there."""
    tx.execute(delete(cursors).where(cursors.c.meeting_id == meeting_id))


def forget_over(tx: Transaction, limit: int = 500) -> int:
    """Delete cursors of meetings that are over, and of which nobody was told anything for a day, or is told nothing
    further, at most `limit`. Returns how many. A replay makes them anew.
    """
    key = tuple_(cursors.c.endpoint_id, cursors.c.meeting_id)
    was_told = and_(cursors.c.due_at < tx.now - ledger.WINDOW, ledger.streams.c.seq <= cursors.c.seq)
    over = (
        select(cursors.c.endpoint_id, cursors.c.meeting_id)
        .join(meetings, meetings.c.id == cursors.c.meeting_id)
        .join(ledger.streams, ledger.streams.c.key == cursors.c.stream)
        .where(meetings.c.status.in_((COMPLETED, CANCELLED)), or_(cursors.c.due_at.is_(None), was_told))
        .limit(limit)
        .with_for_update(of=cursors, skip_locked=True)
    )
    return tx.execute(delete(cursors).where(key.in_(over))).rowcount
