"""Reading meetings."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Select, and_, bindparam, literal, or_, select

from shared.core.ids import is_id
from shared.core.ledger import streams
from shared.core.lists import one_of
from shared.core.transaction import Transaction
from shared.identity.models import users
from shared.meetings.errors import MeetingNotFound
from shared.meetings.models import IN_PROGRESS, SCHEDULED, Meeting, meetings

SOON = timedelta(minutes=10)

MEETING: Select[tuple[object, ...]] = select(meetings, users.c.name.label("host_name")).join(
    users, users.c.id == meetings.c.host_id
)
_ONE = MEETING.where(meetings.c.id == bindparam("meeting_id"))
_ONE_LOCKED = _ONE.with_for_update(of=meetings, key_share=True)


def find_meeting(tx: Transaction, meeting_id: str) -> Meeting | None:
    """Return the meeting or None; a malformed id names nothing."""
    if not is_id(meeting_id):
        return None
    row = tx.first(_ONE, {"meeting_id": meeting_id})
    return None if row is None else Meeting.of(row)


def get_meeting(tx: Transaction, meeting_id: str) -> Meeting:
    """Return the meeting. Raises MeetingNotFound."""
    meeting = find_meeting(tx, meeting_id)
    if meeting is None:
        raise MeetingNotFound
    return meeting


def lock_meeting(tx: Transaction, meeting_id: str) -> Meeting:
    """Return the meeting with its row locked until the commit. Raises MeetingNotFound.

    The lock lets others insert rows that refer to the meeting (`FOR NO KEY UPDATE`): a chat message holds the lock of
    its stream while it does, and would otherwise wait in a circle with a join that wants that stream.
    """
    if not is_id(meeting_id):
        raise MeetingNotFound
    row = tx.first(_ONE_LOCKED, {"meeting_id": meeting_id})
    if row is None:
        raise MeetingNotFound
    return Meeting.of(row)


# Which stream is that of a meeting, as the database puts its key together (shared.core.streams).
OF_MEETING = streams.c.key == literal("m:").concat(meetings.c.id)

_SEVERAL = MEETING.where(one_of(meetings.c.id, "meeting_ids")).order_by(meetings.c.id)
_SEVERAL_LOCKED = _SEVERAL.with_for_update(of=meetings, key_share=True)
_SEVERAL_FREE = _SEVERAL.join(streams, OF_MEETING).with_for_update(
    of=(meetings, streams), key_share=True, skip_locked=True
)


def lock_meetings(tx: Transaction, meeting_ids: Collection[str], *, waits: bool) -> dict[str, Meeting]:
    """Return those of some meetings that there are, by id, with their rows locked until the commit as by
    `lock_meeting`, in the order of their ids.

    Who does not wait gets those that nobody else holds or speaks in at this moment, with the rows of their streams
    locked too; what has no stream yet is not among them.
    """
    wanted = [meeting_id for meeting_id in meeting_ids if is_id(meeting_id)]
    rows = tx.all(_SEVERAL_LOCKED if waits else _SEVERAL_FREE, {"meeting_ids": wanted})
    return {meeting.id: meeting for meeting in map(Meeting.of, rows)}


_SERIES_LOCKED = (
    MEETING.where(meetings.c.series_id == bindparam("series_id"))
    .order_by(meetings.c.id)
    .with_for_update(of=meetings, key_share=True)
)


def lock_series(tx: Transaction, series_id: str) -> list[Meeting]:
    """Return all meetings of a series with their rows locked until the commit, in the order of their ids.

    A statement sees what was there when it began, and may then have waited for one who added a meeting: so it is
    repeated until it finds no more.
    """
    found: list[Meeting] = []
    while len(rows := tx.all(_SERIES_LOCKED, {"series_id": series_id})) > len(found):
        found = [Meeting.of(row) for row in rows]
    return found


_ONE_RUNNING = _ONE.where(meetings.c.status == IN_PROGRESS).with_for_update(
    of=meetings, key_share=True, skip_locked=True
)


def lock_if_running(tx: Transaction, meeting_id: str) -> Meeting | None:
    """Return the meeting with its row locked as by `lock_meeting`; None when it does not run, or somebody else holds
    it: for what comes again by itself.
    """
    row = tx.first(_ONE_RUNNING, {"meeting_id": meeting_id})
    return None if row is None else Meeting.of(row)


def soon_and_running(tx: Transaction, after_id: str, limit: int = 500) -> list[str]:
    """Return the ids of meetings that run or begin within ten minutes, in the order of their ids, behind `after_id`."""
    soon = and_(meetings.c.status == SCHEDULED, meetings.c.scheduled_start.between(tx.now - SOON, tx.now + SOON))
    rows = tx.all(
        select(meetings.c.id)
        .where(or_(meetings.c.status == IN_PROGRESS, soon), meetings.c.id > after_id)
        .order_by(meetings.c.id)
        .limit(limit)
    )
    return [row.id for row in rows]
