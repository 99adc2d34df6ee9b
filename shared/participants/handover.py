"""What becomes of a running meeting without those who lead it, or without anybody (contract 6: the policy says).

Each function locks the meeting row, looks again whether there is something to do, and does it once: two sweeps, or a
host who comes back at the same moment, make one owner and one event (attacks S59).
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, or_, select

from shared.core.transaction import Transaction
from shared.meetings import service as meetings
from shared.meetings.models import Meeting
from shared.meetings.queries import lock_if_running
from shared.participants.events import ParticipantUpdated
from shared.participants.media import align
from shared.participants.models import ATTENDEE, CO_HOST, HOST, JOINED, RECONNECTING, Participant, participants
from shared.participants.moderation import give_role
from shared.participants.unattended import is_without_host, is_without_people
from shared.policies.cache import get_policy
from shared.policies.models import END


def hand_over(tx: Transaction, meeting_id: str) -> int:
    """Give a meeting that its hosts have left another host, or end it. Returns whether it did, as a number.

    The heir is the co-host, and without one the attendee, who has been inside for longest and has an account. Emits
    RoleChanged and ParticipantUpdated, or MeetingFinished.
    """
    meeting = lock_if_running(tx, meeting_id)
    if meeting is None or not is_without_host(tx, meeting_id):
        return 0
    if get_policy(tx, meeting).host_handover == END:
        meetings.end(tx, meeting_id, None)
        return 1
    return int(promote(tx, meeting, (CO_HOST, ATTENDEE), HOST) is not None)


def end_idle(tx: Transaction, meeting_id: str) -> int:
    """End a meeting that nobody is in. Returns whether it did, as a number. Emits MeetingFinished."""
    if lock_if_running(tx, meeting_id) is None or not is_without_people(tx, meeting_id):
        return 0
    meetings.end(tx, meeting_id, None)
    return 1


def promote(tx: Transaction, meeting: Meeting, candidates: Sequence[str], role: str) -> Participant | None:
    """Give a role to who has been inside for longest, of the first of these roles that somebody has; None if nobody.

    Only who has an account, and is not just losing the connection. The caller holds the meeting row.
    Emits RoleChanged and ParticipantUpdated.
    """
    heir = next((found for wanted in candidates if (found := _longest(tx, meeting.id, wanted))), None)
    if heir is None:
        return None
    heir = give_role(tx, meeting, heir, role, None)
    tx.emit(ParticipantUpdated(meeting_id=meeting.id, participant=heir))
    align(tx, heir)
    return heir


def is_inside(tx: Transaction, meeting_id: str, whose: ColumnElement[bool]) -> bool:
    """Tell whether somebody of whom `whose` is true is inside."""
    inside = (participants.c.meeting_id == meeting_id, participants.c.status == JOINED)
    return bool(tx.scalar(select(func.count()).select_from(participants).where(*inside, whose)))


def _longest(tx: Transaction, meeting_id: str, role: str) -> Participant | None:
    row = tx.first(
        select(participants)
        .where(
            participants.c.meeting_id == meeting_id,
            participants.c.status == JOINED,
            participants.c.role == role,
            participants.c.user_id.is_not(None),
            or_(participants.c.presence.is_(None), participants.c.presence != RECONNECTING),
        )
        .order_by(participants.c.joined_at, participants.c.id)
        .limit(1)
    )
    return None if row is None else Participant.of(row)
