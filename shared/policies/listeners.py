"""What policies do when something happens elsewhere."""

from datetime import timedelta

from shared.core.listeners import listens_to
from shared.core.transaction import Transaction
from shared.meetings.events import MeetingCreated, MeetingStarted
from shared.meetings.service import set_deadline
from shared.policies.cache import get_policy
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
