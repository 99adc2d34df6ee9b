"""What participants do when something happens elsewhere."""

from sqlalchemy import select, update

from shared.core import ledger
from shared.core.listeners import listens_to
from shared.core.streams import meeting_stream
from shared.core.transaction import Transaction
from shared.identity.events import UserRegistered
from shared.livekit.events import LiveKitReported
from shared.livekit.jobs import DeleteRoom
from shared.meetings.events import MeetingCreated, MeetingEndBegun, MeetingFinished
from shared.participants.enforcement import concerns_those_inside, enforce
from shared.participants.events import ParticipantBanned
from shared.participants.invitations import invite, redeem
from shared.participants.leaving import end_stays
from shared.participants.locking import lock_places
from shared.participants.media import answer_arrival
from shared.participants.models import HOST, JOINED, LEFT, WAITING, participants, stays
from shared.participants.series import ban_everywhere, inherit_bans
from shared.participants.service import add_place
from shared.participants.waiting_events import WaitedInVain
from shared.policies.events import PolicyChangeBegun, PolicyChanged


@listens_to(MeetingCreated)
def give_host_and_invitees_their_places(tx: Transaction, event: MeetingCreated) -> None:
    """The creator is the host; the invited are members who have not joined yet."""
    host = add_place(tx, event.meeting.id, event.host.user_id, event.host.name, HOST)
    invite(tx, host, event.host.email, event.invitees)
    if event.meeting.series_id is not None:
        inherit_bans(tx, event.meeting)


@listens_to(ParticipantBanned)
def ban_from_the_whole_series(tx: Transaction, event: ParticipantBanned) -> None:
    """A ban holds for every meeting of the series."""
    ban_everywhere(tx, event)


@listens_to(UserRegistered)
def redeem_invitations(tx: Transaction, event: UserRegistered) -> None:
    """Whoever was invited before having an account is a member from the start."""
    redeem(tx, event.user_id, event.email, event.name)


@listens_to(MeetingEndBegun)
def hold_all_places(tx: Transaction, event: MeetingEndBegun) -> None:
    """All of them are about to be left."""
    lock_places(tx, event.meeting_id, participants.c.status.in_((JOINED, WAITING)))


@listens_to(MeetingFinished)
def everybody_has_left(tx: Transaction, event: MeetingFinished) -> None:
    """End all stays in two statements. One event told it to all inside; those who wait are told one by one."""
    last = ledger.heads(tx.connection, [meeting_stream(event.meeting_id)])[meeting_stream(event.meeting_id)]
    end_stays(tx, stays.c.meeting_id == event.meeting_id, last)
    in_vain = select(participants.c.id).where(
        participants.c.meeting_id == event.meeting_id, participants.c.status == WAITING
    )
    for row in tx.all(in_vain.order_by(participants.c.id)):
        tx.emit(
            WaitedInVain(
                meeting_id=event.meeting_id,
                actor_id=event.actor_id,
                meeting=event.meeting,
                ended_at=event.ended_at,
                participant_id=row.id,
            )
        )
    tx.execute(
        update(participants)
        .where(participants.c.meeting_id == event.meeting_id, participants.c.status.in_((JOINED, WAITING)))
        .values(
            status=LEFT,
            left_at=tx.now,
            waiting_since=None,
            is_screen_sharing=False,
            is_hand_raised=False,
            hand_raised_at=None,
            presence=None,
            disconnected_at=None,
        )
    )


@listens_to(MeetingFinished)
def end_the_media(tx: Transaction, event: MeetingFinished) -> None:
    """Let a worker delete the LiveKit room, where there is a LiveKit."""
    if tx.settings.has_livekit:
        tx.enqueue(DeleteRoom(room=event.meeting_id))


@listens_to(LiveKitReported)
def send_out_who_does_not_belong_there(tx: Transaction, event: LiveKitReported) -> None:
    """LiveKit lets in whoever holds a token; whether they may be there now is looked up when they are."""
    if event.report.type == "participant_joined":
        answer_arrival(tx, event.report)


@listens_to(PolicyChangeBegun)
def hold_the_places_that_the_policy_may_change(tx: Transaction, event: PolicyChangeBegun) -> None:
    """Whoever holds one now finishes first; whoever comes later finds the new rules."""
    if event.meeting.is_running and concerns_those_inside(event.before, event.after):
        lock_places(tx, event.meeting.id, participants.c.status.in_((JOINED, WAITING)))


@listens_to(PolicyChanged)
def take_what_the_policy_no_longer_allows(tx: Transaction, event: PolicyChanged) -> None:
    """A rule holds for those inside as for those who come."""
    if event.meeting.is_running:
        enforce(tx, event)
