"""Whose places are locked, and when: rows of meetings first, then places by id, then streams (docs/adr/0018).

Whoever sets their own flags holds their place and then wants the meeting's stream. Whoever changes several places takes
all of them before the first event, or the two would wait in a circle.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, select

from shared.core.ledger import hold
from shared.core.lists import one_of
from shared.core.streams import meeting_stream
from shared.core.transaction import Transaction
from shared.meetings.models import meetings
from shared.participants.models import JOINED, Participant, participants


def lock_places(tx: Transaction, meeting_id: str, *whose: ColumnElement[bool]) -> None:
    """Lock the places of a meeting of which `whose` is true, until the commit. Call it before the first `emit`."""
    places = select(participants.c.id).where(participants.c.meeting_id == meeting_id, *whose)
    tx.all(places.order_by(participants.c.id).with_for_update(key_share=True))


_LOCKED = {
    waits: select(participants)
    .where(one_of(participants.c.id, "ids"))
    .order_by(participants.c.id)
    .with_for_update(key_share=True, skip_locked=not waits)
    for waits in (True, False)
}


def lock_known_places(tx: Transaction, participant_ids: Collection[str], *, waits: bool) -> dict[str, Participant]:
    """Lock places until the commit and return them by id, as they are now; who does not wait gets those that nobody
    else holds."""
    if not participant_ids:
        return {}
    return {row.id: Participant.of(row) for row in tx.all(_LOCKED[waits], {"ids": participant_ids})}


def lock_with_streams(tx: Transaction, *whose: ColumnElement[bool]) -> None:
    """Lock places in several meetings of which `whose` is true, and then what is told to those inside."""
    places = select(participants.c.id, participants.c.meeting_id, participants.c.status).where(*whose)
    rows = tx.all(places.order_by(participants.c.id).with_for_update(key_share=True))
    hold(tx.connection, {meeting_stream(row.meeting_id) for row in rows if row.status == JOINED})


def lock_in_series(tx: Transaction, series_id: str, user_id: str) -> None:
    """Lock the places of an account in all meetings of a series, and their streams. The caller holds the rows of the
    series."""
    of_series = select(meetings.c.id).where(meetings.c.series_id == series_id)
    lock_with_streams(tx, participants.c.user_id == user_id, participants.c.meeting_id.in_(of_series))
