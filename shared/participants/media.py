"""What a participant may do with media: derived from role and policy, each time anew."""

from dataclasses import dataclass

from sqlalchemy import select

from shared.core.errors import NotFound
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.livekit.jobs import AlignParticipant
from shared.livekit.tokens import MediaGrant
from shared.livekit.webhooks import Report
from shared.meetings.queries import find_meeting
from shared.participants.membership import get_permitted
from shared.participants.models import JOINED, Participant, participants, stays
from shared.participants.permissions import MEDIA_CONNECT, POLICY_HOST_ONLY, may
from shared.policies.cache import get_policy
from shared.policies.models import Policy
from shared.policies.service import permits

SPEAK = ("microphone", "camera")
SPEAK_ONLY: tuple[str, ...] = ("microphone",)
PRESENT = ("screen_share", "screen_share_audio")


def grant_for(tx: Transaction, meeting_id: str, actor: Actor, breakout_room_id: str | None) -> MediaGrant:
    """Return what the actor may publish, where, and as whom.

    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, NotInside, NotFound (breakout room).
    """
    membership = get_permitted(tx, meeting_id, actor, MEDIA_CONNECT)
    me = membership.me
    if breakout_room_id is not None:
        raise NotFound("There is no such breakout room.")
    return MediaGrant(
        room=meeting_id,
        identity=me.media_identity or "",
        name=me.user_name,
        sources=sources_for(me, get_policy(tx, membership.meeting)),
    )


def align(tx: Transaction, person: Participant) -> None:
    """Have the media server agree with what was decided about somebody, where there is one."""
    if tx.settings.has_livekit and person.media_identity:
        tx.enqueue(AlignParticipant(room=person.meeting_id, identity=person.media_identity))


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the media server shall know of somebody: the grant, None for who is not inside (any more)."""

    grant: MediaGrant | None
    is_muted: bool = False


def alignment_of(tx: Transaction, room: str, identity: str) -> Alignment:
    """Return what an identity in a room may do at this moment."""
    row = tx.first(
        select(participants).where(
            participants.c.meeting_id == room,
            participants.c.media_identity == identity,
            participants.c.status == JOINED,
        )
    )
    meeting = find_meeting(tx, room)
    if row is None or meeting is None or not meeting.is_running:
        return Alignment(None)
    me = Participant.of(row)
    sources = sources_for(me, get_policy(tx, meeting))
    return Alignment(MediaGrant(room=room, identity=identity, name=me.user_name, sources=sources), me.is_muted)


def answer_arrival(tx: Transaction, report: Report) -> None:
    """Have somebody who has entered a media room sent out, or put right, unless all is as the database says.

    A token stays good after what it was given for: who was removed, denied, sent back or has left is sent out (attacks
    S42), who has fewer rights by now gets those. Whoever has no identity of ours (a recorder) is left alone.
    """
    is_ours = select(stays.c.id).where(stays.c.media_identity == report.identity, stays.c.meeting_id == report.room)
    if tx.first(is_ours) is None:
        return
    grant = alignment_of(tx, report.room, report.identity).grant
    if grant is None or report.sources != frozenset(grant.sources):
        tx.enqueue(AlignParticipant(room=report.room, identity=report.identity))


def sources_for(me: Participant, policy: Policy) -> tuple[str, ...]:
    """Return what a participant may publish; nothing when a host has taken that away."""
    if not me.can_publish:
        return ()
    is_staff = may(me, POLICY_HOST_ONLY)
    sources = SPEAK if is_staff or not policy.disable_camera else SPEAK_ONLY
    return sources + PRESENT if permits(policy.screen_share_permissions, is_staff=is_staff) else sources
