"""What the join page shows before anybody is let in (contract 2): a meeting as a stranger may see it."""

from dataclasses import dataclass
from datetime import datetime

from shared.core.transaction import Transaction
from shared.meetings.queries import get_meeting
from shared.policies.cache import get_policy
from shared.policies.models import AUTOMATIC, DOMAIN_RESTRICTED


@dataclass(frozen=True, slots=True)
class Needs:
    """What somebody needs to get in who is not a host. `waiting_room`: a host may have to admit them."""

    account: bool
    passcode: bool
    waiting_room: bool
    domain: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A meeting from outside. Who knows its id knows this much; nothing in it names or counts the people inside."""

    meeting_id: str
    title: str
    status: str
    scheduled_start: datetime | None
    host_name: str
    needs: Needs


def card(tx: Transaction, meeting_id: str) -> Card:
    """Return the card of a meeting, whatever its status. Raises MeetingNotFound."""
    meeting = get_meeting(tx, meeting_id)
    policy = get_policy(tx, meeting)
    needs = Needs(
        account=not policy.allow_anonymous_join,
        passcode=policy.require_password,
        waiting_room=policy.require_waiting_room or policy.join_approval_mode != AUTOMATIC,
        domain=bool(policy.allowed_domains) and policy.join_approval_mode != DOMAIN_RESTRICTED,
    )
    return Card(meeting.id, meeting.title, meeting.status, meeting.scheduled_start, meeting.host_name, needs)
