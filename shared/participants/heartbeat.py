"""Presence of people: connected, reconnecting, and after the grace left (contract 11)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, select, update

from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.meetings.models import IN_PROGRESS, meetings
from shared.participants.events import ConnectionStatusChanged
from shared.participants.leaving import take_out, withdraw
from shared.participants.locking import lock_with_streams
from shared.participants.models import CONNECTED, JOINED, RECONNECTING, WAITING, Participant, participants
from shared.participants.queue import tell_positions
from shared.realtime import orders, presence
from shared.realtime.presence import Socket

SWEEP_LIMIT = 500

_CONNECT = (
    update(participants)
    .where(one_of(participants.c.id, "people"), participants.c.status.in_((JOINED, WAITING)))
    .values(presence=CONNECTED, disconnected_at=None)
    .returning(participants)
)


def connections_opened(tx: Transaction, process_id: str, sockets: Sequence[Socket]) -> set[str]:
    """Enter connections. Emits ConnectionStatusChanged for whoever was reconnecting.

    One alone waits for whoever changes the same place; of several nobody waits for another's: the participants whose
    connections were not entered for that reason are returned.
    """
    presence.hold_process(tx.connection, process_id)  # before places: a sweep that finds it dead takes it first too
    presences = _lock_places(tx, sockets)
    here = [socket for socket in sockets if socket.participant_id in presences]
    presence.opened(tx.connection, process_id, here, tx.now)
    for old in presence.surplus(tx.connection, presences, tx.settings.ws_max_per_person):
        tx.order(orders.close_connection(old))  # the newest stay: an old one is most likely dead
    away = [id_ for id_, was in presences.items() if was != CONNECTED]
    if away:
        rows = tx.all(_CONNECT, {"people": away})
        # A first connection tells nothing that the join has not told.
        _tell(tx, [Participant.of(row) for row in rows if presences[row.id] == RECONNECTING], CONNECTED)
    return {socket.participant_id for socket in sockets} - presences.keys()


def connections_closed(tx: Transaction, sockets: Sequence[Socket]) -> set[str]:
    """Remove connections. Emits ConnectionStatusChanged where it was a person's last one.

    Returns, as `connections_opened`, the participants whose connections were left for later.
    """
    held = _lock_places(tx, sockets)  # two tabs that close at once must not each see the other as still open
    alone = presence.closed(tx.connection, [socket for socket in sockets if socket.participant_id in held], tx.now)
    lost(tx, sorted(alone), tx.now)
    return {socket.participant_id for socket in sockets} - held.keys()


_PLACES = (
    select(participants.c.id, participants.c.presence)
    .where(one_of(participants.c.id, "people"))
    .order_by(participants.c.id)
)
_PLACE_AFTER_WAITING = _PLACES.with_for_update(key_share=True)
_FREE_PLACES = _PLACES.with_for_update(key_share=True, skip_locked=True)


def _lock_places(tx: Transaction, sockets: Sequence[Socket]) -> dict[str, str | None]:
    """Lock the places of people; return their presence, without those that somebody else holds if there are several."""
    people = sorted({socket.participant_id for socket in sockets})
    statement = _FREE_PLACES if len(people) > 1 else _PLACE_AFTER_WAITING
    return {row.id: row.presence for row in tx.execute(statement, {"people": people})}


_LOSE = (
    update(participants)
    .where(
        one_of(participants.c.id, "people"),
        participants.c.status.in_((JOINED, WAITING)),
        participants.c.presence == CONNECTED,
    )
    .values(presence=RECONNECTING, disconnected_at=bindparam("since"))
    .returning(participants)
)


def lost(tx: Transaction, participant_ids: list[str], since: datetime) -> int:
    """Mark people without a connection as reconnecting, since the given time. Returns how many."""
    rows = tx.all(_LOSE, {"people": participant_ids, "since": since}) if participant_ids else ()
    _tell(tx, [Participant.of(row) for row in rows], RECONNECTING)
    return len(rows)


def _tell(tx: Transaction, people: Iterable[Participant], status: str) -> None:
    """Tell those inside: with one statement for all meetings, which takes their streams in the order of their keys."""
    tx.emit_all(
        [
            ConnectionStatusChanged(
                meeting_id=person.meeting_id, actor_id=person.user_id, participant=person, status=status
            )
            for person in people
            if person.is_inside
        ]
    )


def sweep_processes(tx: Transaction) -> int:
    """Take the connections of dead processes away. Returns how many people are reconnecting because of it."""
    dead = [
        (process_id, last_seen, presence.bereaved(tx.connection, process_id))
        for process_id, last_seen in presence.dead_processes(tx.connection, tx.now)
    ]
    # All places before any stream, and the streams in one order, of however many processes (docs/adr/0018). Who comes
    # back elsewhere right now is either counted below, or waits here and finds a lost one to report back.
    everybody = {person for _, _, people in dead for person in people}
    if everybody:
        lock_with_streams(tx, participants.c.id.in_(everybody))
    count = 0
    for process_id, last_seen, people in dead:
        presence.forget(tx.connection, process_id)
        count += lost(tx, sorted(presence.without_connection(tx.connection, people, tx.now)), last_seen)
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
    people = [Participant.of(row) for row in rows]
    for person in people:
        if person.is_inside:
            take_out(tx, person, "connection_lost")
        else:
            withdraw(tx, person)
    if not all(person.is_inside for person in people):
        tell_positions(tx, meeting_id)
    return len(rows)
