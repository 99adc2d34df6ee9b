"""When there is something to tell: a meeting that is changed, starts or is cancelled, somebody who becomes a host.

What happens inside a meeting writes nothing here: it is in the ledger, and found there.
"""

from shared.core.listeners import listens_to
from shared.core.transaction import Transaction
from shared.meetings.events import MeetingCancelled, MeetingChanged, MeetingStarted
from shared.participants.events import RoleChanged
from shared.participants.models import HOST
from shared.webhooks import cursors


@listens_to(MeetingStarted)
def meeting_started(tx: Transaction, event: MeetingStarted) -> None:
    """Have the hosts' endpoints told of this and of what comes behind it."""
    cursors.begin_for_meeting(tx, event.meeting_id, behind=1)


@listens_to(MeetingChanged)
def meeting_changed(tx: Transaction, event: MeetingChanged) -> None:
    """Have the hosts' endpoints told of this and of what comes behind it."""
    cursors.begin_for_meeting(tx, event.meeting_id, behind=1)


@listens_to(MeetingCancelled)
def meeting_cancelled(tx: Transaction, event: MeetingCancelled) -> None:
    """Have the hosts' endpoints told of this."""
    cursors.begin_for_meeting(tx, event.meeting_id, behind=1)


@listens_to(RoleChanged)
def follow_role(tx: Transaction, event: RoleChanged) -> None:
    """Tell the endpoints of a new host from now on, those of somebody who is none any more nothing further."""
    person = event.participant
    if person.user_id is None:
        return
    if person.role == HOST:
        cursors.begin_for_meeting(tx, event.meeting_id, user_id=person.user_id)
    else:
        cursors.end_for_user(tx, event.meeting_id, person.user_id)
