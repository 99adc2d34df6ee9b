"""Finding running meetings that nobody looks after, page by page in the order of their ids.

What is found is judged again under the meeting's lock, by the same query: a host may be coming back at this moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Exists, Select, exists, func, or_, select

from shared.core.transaction import Transaction
from shared.meetings.models import IN_PROGRESS, meetings
from shared.participants.models import HOST, JOINED, WAITING, participants, stays
from shared.policies.models import WAIT, policies

PAGE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """Meetings to look at; `last` is where the next page begins, None when there is none."""

    due: list[str]
    last: str | None


Find = Callable[[Transaction, str], Page]


def without_host(tx: Transaction, after: str) -> Page:
    """Return meetings that no host has been in for longer than their policy waits."""
    return _page(tx, _WITHOUT_HOST, after)


def without_answer(tx: Transaction, after: str) -> Page:
    """Return meetings in front of which somebody has waited for longer than their policy lets them."""
    return _page(tx, _WITHOUT_ANSWER, after)


def without_people(tx: Transaction, after: str) -> Page:
    """Return meetings that nobody has been in for longer than their policy allows."""
    return _page(tx, _WITHOUT_PEOPLE, after)


def is_without_host(tx: Transaction, meeting_id: str) -> bool:
    """Tell whether this is one of `without_host`."""
    return _is_due(tx, _WITHOUT_HOST, meeting_id)


def is_without_people(tx: Transaction, meeting_id: str) -> bool:
    """Tell whether this is one of `without_people`."""
    return _is_due(tx, _WITHOUT_PEOPLE, meeting_id)


def unanswered(since: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of who waits since then or longer, and for whom nothing was done yet."""
    return (_waits_unanswered(), participants.c.waiting_since <= since)


def _waits_unanswered() -> ColumnElement[bool]:
    new = or_(participants.c.escalated_at.is_(None), participants.c.escalated_at < participants.c.waiting_since)
    return (participants.c.status == WAITING) & new


def _inside(*whose: ColumnElement[bool]) -> Exists:
    return exists().where(participants.c.meeting_id == meetings.c.id, participants.c.status == JOINED, *whose)


def _running(minutes: ColumnElement[int], since: ColumnElement[Any], *when: ColumnElement[bool]) -> Select[Any]:
    """Return the query for running meetings, with how many minutes after which time they are due."""
    return (
        select(meetings.c.id, minutes.label("minutes"), since.label("since"))
        .join(policies, policies.c.meeting_id == meetings.c.id)
        .where(meetings.c.status == IN_PROGRESS, *when)
        .order_by(meetings.c.id)
    )


_WITHOUT_HOST = _running(
    policies.c.host_handover_minutes,
    # A host who never came has not left.
    select(func.max(participants.c.left_at))
    .where(participants.c.meeting_id == meetings.c.id, participants.c.role == HOST)
    .scalar_subquery(),
    policies.c.host_handover != WAIT,
    ~_inside(participants.c.role == HOST),
)
_WITHOUT_ANSWER = _running(
    policies.c.waiting_room_timeout_minutes,
    select(func.min(participants.c.waiting_since))
    .where(participants.c.meeting_id == meetings.c.id, _waits_unanswered())
    .scalar_subquery(),
    policies.c.waiting_room_timeout_minutes > 0,
)
_WITHOUT_PEOPLE = _running(
    policies.c.idle_timeout_minutes,
    func.coalesce(
        select(func.max(stays.c.left_at)).where(stays.c.meeting_id == meetings.c.id).scalar_subquery(),
        meetings.c.started_at,
    ),
    policies.c.idle_timeout_minutes > 0,
    ~_inside(),
)


def _page(tx: Transaction, query: Select[Any], after: str) -> Page:
    rows = tx.all(query.where(meetings.c.id > after).limit(PAGE))
    return Page(_due(tx, rows), rows[-1].id if len(rows) == PAGE else None)


def _is_due(tx: Transaction, query: Select[Any], meeting_id: str) -> bool:
    return bool(_due(tx, tx.all(query.where(meetings.c.id == meeting_id))))


def _due(tx: Transaction, rows: Sequence[Any]) -> list[str]:
    return [row.id for row in rows if row.since is not None and row.since + timedelta(minutes=row.minutes) <= tx.now]
