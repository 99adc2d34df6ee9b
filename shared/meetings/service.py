"""The life of a meeting: scheduled -> in_progress -> completed, or scheduled -> cancelled (contract 3).

Every change of state is one compare-and-set statement; who loses the race is told what the state is now.
Who may call these is decided by the door's capability above (participants know the roles).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from shared.core import ledger
from shared.core.errors import ValidationFailed
from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingAlreadyActive, MeetingEnded, MeetingNotActive
from shared.meetings.events import (
    MeetingCancelled,
    MeetingChanged,
    MeetingCreated,
    MeetingEndBegun,
    MeetingFinished,
    MeetingStarted,
)
from shared.meetings.models import CANCELLED, COMPLETED, IN_PROGRESS, SCHEDULED, Meeting, meetings
from shared.meetings.queries import get_meeting, lock_meeting

RUNNING_MAY_CHANGE = {"title", "description"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingWish:
    """What somebody wants a new meeting to be. Times are aware; `policy` and `invitees` go to the listeners.

    `series_of` is a meeting of the same series; the caller has made sure that it is theirs.
    """

    title: str
    description: str = ""
    scheduled_start: datetime | None = None
    scheduled_end: datetime | None = None
    time_zone: str = "UTC"
    policy: Mapping[str, Any] | None = None
    invitees: tuple[str, ...] = ()
    template_id: str | None = None
    series_of: str | None = None


def create(tx: Transaction, host: Actor, wish: MeetingWish) -> Meeting:
    """Make a meeting. Emits MeetingCreated, from which policy, host's place, invitations and inherited bans follow.

    Locks the row of the meeting whose series it continues. Raises MeetingNotFound (that one), ValidationFailed
    when the end is not after the start, or the template does not exist.
    """
    if wish.template_id is not None:
        raise ValidationFailed(details={"template_id": ["There is no such template."]})
    end = wish.scheduled_end
    if end is None and wish.scheduled_start is not None:
        end = wish.scheduled_start + timedelta(seconds=tx.settings.meeting_default_duration)
    _check_times(wish.scheduled_start, end)
    series_id = None if wish.series_of is None else _series_of(tx, wish.series_of)
    meeting_id = new_id()
    tx.execute(
        meetings.insert().values(
            id=meeting_id,
            host_id=host.user_id,
            series_id=series_id,
            title=wish.title,
            description=wish.description,
            status=SCHEDULED,
            time_zone=wish.time_zone,
            scheduled_start=wish.scheduled_start,
            scheduled_end=end,
            seats_taken=0,
            policy_version=1,
            created_at=tx.now,
        )
    )
    meeting = get_meeting(tx, meeting_id)
    tx.emit(MeetingCreated(meeting=meeting, host=host, policy=dict(wish.policy or {}), invitees=wish.invitees))
    return meeting


def _series_of(tx: Transaction, meeting_id: str) -> str:
    """Return the series of a meeting; one that had none begins one."""
    meeting = lock_meeting(tx, meeting_id)
    if meeting.series_id is not None:
        return meeting.series_id
    series_id = new_id()
    tx.execute(update(meetings).where(meetings.c.id == meeting_id).values(series_id=series_id))
    return series_id


def _check_times(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end <= start:
        raise ValidationFailed(details={"scheduled_end": ["Must be after scheduled_start."]})


def change(tx: Transaction, meeting_id: str, actor: Actor, changes: Mapping[str, Any]) -> Meeting:
    """Change title, description or schedule; of a running meeting title and description only.

    Locks the meeting row. Emits MeetingChanged. Raises InvalidMeetingState, MeetingEnded, ValidationFailed.
    """
    meeting = lock_meeting(tx, meeting_id)
    check_not_over(meeting)
    if meeting.is_running and not set(changes) <= RUNNING_MAY_CHANGE:
        raise InvalidMeetingState("While the meeting runs, only its title and description can change.")
    _check_times(
        changes.get("scheduled_start", meeting.scheduled_start), changes.get("scheduled_end", meeting.scheduled_end)
    )
    if changes:
        tx.execute(update(meetings).where(meetings.c.id == meeting_id).values(**changes))
        meeting = get_meeting(tx, meeting_id)
        changed = tuple(sorted(changes))
        tx.emit(MeetingChanged(meeting_id=meeting_id, actor_id=actor.user_id, meeting=meeting, changed=changed))
    return meeting


def start(tx: Transaction, meeting_id: str, actor: Actor) -> Meeting:
    """Let people in. Emits MeetingStarted. One of many simultaneous calls succeeds.

    Raises MeetingAlreadyActive, MeetingEnded, InvalidMeetingState (cancelled).
    """
    started = tx.execute(
        update(meetings)
        .where(meetings.c.id == meeting_id, meetings.c.status == SCHEDULED)
        .values(status=IN_PROGRESS, started_at=tx.now, started_by=actor.user_id)
    )
    meeting = get_meeting(tx, meeting_id)
    if started.rowcount == 0:
        raise {
            IN_PROGRESS: MeetingAlreadyActive,
            COMPLETED: MeetingEnded,
            CANCELLED: InvalidMeetingState,
        }[meeting.status]
    by: dict[str, Any] = {"actor_id": actor.user_id, "guest_id": actor.participant_id}
    tx.emit(MeetingStarted(meeting_id=meeting_id, **by, meeting=meeting))
    return meeting


def set_deadline(tx: Transaction, meeting_id: str, deadline: datetime | None) -> None:
    """Say when beat shall end a running meeting; None for never."""
    tx.execute(update(meetings).where(meetings.c.id == meeting_id).values(deadline_at=deadline))


def end(tx: Transaction, meeting_id: str, actor_id: str | None, guest_id: str | None = None) -> Meeting:
    """End a running meeting. Emits MeetingFinished, closes its streams.

    `actor_id` is the user who does, `guest_id` the participant when it is one without account; None when its time is
    over.

    Raises MeetingNotActive, MeetingEnded, InvalidMeetingState.
    """
    ended = tx.execute(
        update(meetings)
        .where(meetings.c.id == meeting_id, meetings.c.status == IN_PROGRESS)
        .values(status=COMPLETED, ended_at=tx.now, ended_by=actor_id, seats_taken=0)
    )
    meeting = get_meeting(tx, meeting_id)
    if ended.rowcount == 0:
        check_running(meeting)
        raise MeetingNotActive  # it was started between the two statements; the end came first
    tx.emit(MeetingEndBegun(meeting_id=meeting_id))
    by: dict[str, Any] = {"actor_id": actor_id, "guest_id": guest_id}
    tx.emit(MeetingFinished(meeting_id=meeting_id, **by, meeting=meeting, ended_at=tx.now))
    ledger.close_streams(tx.connection, meeting_id)
    return meeting


def cancel(tx: Transaction, meeting_id: str, actor: Actor) -> Meeting:
    """Cancel a scheduled meeting. Emits MeetingCancelled. Raises MeetingEnded, InvalidMeetingState."""
    cancelled = tx.execute(
        update(meetings).where(meetings.c.id == meeting_id, meetings.c.status == SCHEDULED).values(status=CANCELLED)
    )
    meeting = get_meeting(tx, meeting_id)
    if cancelled.rowcount == 0:
        if meeting.status == COMPLETED:
            raise MeetingEnded
        raise InvalidMeetingState(f"A meeting that is {meeting.status} cannot be cancelled.")
    tx.emit(MeetingCancelled(meeting_id=meeting_id, actor_id=actor.user_id, meeting=meeting))
    return meeting


def check_running(meeting: Meeting) -> None:
    """Raise what contract 3 says when a meeting is not in progress."""
    if meeting.status == SCHEDULED:
        raise MeetingNotActive
    check_not_over(meeting)


def check_not_over(meeting: Meeting) -> None:
    """Raise what contract 3 says when a meeting is completed or cancelled."""
    if meeting.status == COMPLETED:
        raise MeetingEnded
    if meeting.status == CANCELLED:
        raise InvalidMeetingState("The meeting was cancelled.")


def overdue(tx: Transaction, limit: int = 100) -> list[str]:
    """Return running meetings whose deadline has passed, the longest overdue first."""
    rows = tx.all(
        select(meetings.c.id)
        .where(meetings.c.status == IN_PROGRESS, meetings.c.deadline_at <= tx.now)
        .order_by(meetings.c.deadline_at)
        .limit(limit)
    )
    return [row.id for row in rows]
