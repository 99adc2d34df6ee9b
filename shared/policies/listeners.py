"""What policies do when something happens elsewhere."""

from datetime import timedelta

from shared.core.listeners import listens_to
from shared.core.transaction import Transaction
from shared.meetings.events import MeetingCreated, MeetingStarted
from shared.meetings.jobs import PrewarmMeeting
from shared.meetings.service import set_deadline
from shared.policies.cache import get_policy
from shared.policies.events import PolicyChanged
from shared.policies.service import create_policy


@listens_to(MeetingCreated)
def give_the_meeting_its_policy(tx: Transaction, event: MeetingCreated) -> None:
    """Make the policy with the meeting, in one transaction."""
    create_policy(tx, event.meeting.id, event.policy)


@listens_to(MeetingStarted)
def limit_the_duration(tx: Transaction, event: MeetingStarted) -> None:
    """Set the time at which beat ends the meeting, when the policy limits it."""
    minutes = get_policy(tx, event.meeting).meeting_duration_minutes
    if minutes:
        set_deadline(tx, event.meeting_id, tx.now + timedelta(minutes=minutes))


@listens_to(MeetingStarted)
def lay_the_policy_into_the_cache(tx: Transaction, event: MeetingStarted) -> None:
    """Everybody joins now, at processes that have not seen the meeting yet."""
    tx.enqueue(PrewarmMeeting(meeting_id=event.meeting_id))


@listens_to(PolicyChanged)
def change_the_limit_of_the_duration(tx: Transaction, event: PolicyChanged) -> None:
    """Move the end of a running meeting when the limit of its duration has changed."""
    minutes, started_at = event.after.meeting_duration_minutes, event.meeting.started_at
    if started_at is None or not event.meeting.is_running or minutes == event.before.meeting_duration_minutes:
        return
    set_deadline(tx, event.meeting_id, started_at + timedelta(minutes=minutes) if minutes else None)
