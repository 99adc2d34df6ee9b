"""Presence of people: connected, reconnecting, and after the grace left (contract 11)."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select, update

from shared.core.transaction import Transaction
from shared.meetings.models import IN_PROGRESS, meetings
from shared.participants.events import ConnectionStatusChanged, EntryWithdrawn
from shared.participants.models import CONNECTED, JOINED, LEFT, RECONNECTING, WAITING, Participant, participants
from shared.participants.service import take_out
from shared.realtime import orders, presence

SWEEP_LIMIT = 500


def connection_opened(
    tx: Transaction, connection_id: str, process_id: str, meeting_id: str, participant_id: str
) -> None:
    """Enter a connection. Emits ConnectionStatusChanged when the person was reconnecting."""
    presence.opened(tx.connection, connection_id, process_id, meeting_id, participant_id, tx.now)
    for old in presence.surplus(tx.connection, participant_id, tx.settings.ws_max_per_person):
        tx.order(orders.close_connection(old))  # the newest stay: an old one is most likely dead
    was = tx.scalar(
        select(participants.c.presence).where(participants.c.id == participant_id).with_for_update(key_share=True)
    )
    if was == CONNECTED:
        return
    row = tx.execute(
        update(participants)
        .where(participants.c.id == participant_id, participants.c.status.in_((JOINED, WAITING)))
        .values(presence=CONNECTED, disconnected_at=None)
        .returning(participants)
    ).one_or_none()
    if row is not None and was == RECONNECTING:  # a first connection tells nothing that the join has not told
        _tell(tx, Participant.of(row), CONNECTED)


def connection_closed(tx: Transaction, connection_id: str, participant_id: str) -> None:
    """Remove a connection. Emits ConnectionStatusChanged when it was the person's last one."""
    # Two tabs that close at once must not each see the other as still open.
    tx.first(select(participants.c.id).where(participants.c.id == participant_id).with_for_update(key_share=True))
    if presence.closed(tx.connection, connection_id, participant_id, tx.now):
        lost(tx, [participant_id], tx.now)


def lost(tx: Transaction, participant_ids: list[str], since: datetime) -> int:
    """Mark people without a connection as reconnecting, since the given time. Returns how many."""
    rows = tx.all(
        update(participants)
        .where(
            participants.c.id.in_(participant_ids),
            participants.c.status.in_((JOINED, WAITING)),
            participants.c.presence == CONNECTED,
        )
        .values(presence=RECONNECTING, disconnected_at=since)
        .returning(participants)
    )
    for person in map(Participant.of, rows):
        _tell(tx, person, RECONNECTING)
    return len(rows)


def _tell(tx: Transaction, person: Participant, status: str) -> None:
    if person.is_inside:
        tx.emit(
            ConnectionStatusChanged(
                meeting_id=person.meeting_id, actor_id=person.user_id, participant=person, status=status
            )
        )


def sweep_processes(tx: Transaction) -> int:
    """Take the connections of dead processes away. Returns how many people are reconnecting because of it."""
    count = 0
    for process_id, last_seen in presence.dead_processes(tx.connection, tx.now):
        people = presence.bereaved(tx.connection, process_id)
        # Who comes back elsewhere right now is either counted below, or waits here and finds a lost one to report back.
        tx.all(
            select(participants.c.id)
            .where(participants.c.id.in_(people))
            .order_by("id")
            .with_for_update(key_share=True)
        )
        presence.forget(tx.connection, process_id)
        alone = [p for p in people if presence.count_of(tx.connection, p, tx.now) == 0]
        count += lost(tx, alone, last_seen)
    return count


def stale_meetings(tx: Transaction) -> list[str]:
    """Return running meetings in which somebody's grace is over."""
    rows = tx.all(_stale(tx).with_only_columns(participants.c.meeting_id).distinct())
    return [row.meeting_id for row in rows]


def _stale(tx: Transaction) -> Select[Any]:
    grace = timedelta(seconds=tx.settings.presence_grace)
    return select(participants).where(
        participants.c.presence == RECONNECTING, participants.c.disconnected_at <= tx.now - grace
    )


def sweep_meeting(tx: Transaction, meeting_id: str) -> int:
    """Take people whose grace is over out of a meeting, at most 500. Returns how many.

    Locks the meeting row, because seats become free. Emits ParticipantLeft or EntryWithdrawn.
    """
    running = tx.first(
        select(meetings.c.id)
        .where(meetings.c.id == meeting_id, meetings.c.status == IN_PROGRESS)
        .with_for_update(skip_locked=True, key_share=True)
    )
    if running is None:
        return 0
    # Locked, and read again once they are: somebody may be coming back at this moment.
    mine = _stale(tx).where(participants.c.meeting_id == meeting_id).order_by(participants.c.id).limit(SWEEP_LIMIT)
    rows = tx.all(mine.with_for_update(skip_locked=True, key_share=True))
    for person in map(Participant.of, rows):
        if person.is_inside:
            take_out(tx, person, "connection_lost")
        else:
            _withdraw(tx, person)
    return len(rows)


def _withdraw(tx: Transaction, person: Participant) -> None:
    row = tx.execute(
        update(participants)
        .where(participants.c.id == person.id, participants.c.status == WAITING)
        .values(status=LEFT, left_at=tx.now, waiting_since=None, presence=None, disconnected_at=None)
        .returning(participants)
    ).one_or_none()
    if row is not None:
        gone = Participant.of(row)
        tx.emit(EntryWithdrawn(meeting_id=gone.meeting_id, actor_id=gone.user_id, participant=gone))
