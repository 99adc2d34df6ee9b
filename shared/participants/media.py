"""What a participant may do with media: derived from role and policy, each time anew."""

from shared.core.errors import NotFound
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.livekit.tokens import MediaGrant
from shared.participants.membership import get_inside
from shared.policies.cache import get_policy
from shared.policies.service import permits

SPEAK = ("microphone", "camera")
PRESENT = ("screen_share", "screen_share_audio")


def grant_for(tx: Transaction, meeting_id: str, actor: Actor, breakout_room_id: str | None) -> MediaGrant:
    """Return what the actor may publish, where, and as whom.

    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, NotInside, NotFound (breakout room).
    """
    membership = get_inside(tx, meeting_id, actor)
    me = membership.me
    if breakout_room_id is not None:
        raise NotFound("There is no such breakout room.")
    may_present = permits(get_policy(tx, membership.meeting).screen_share_permissions, is_staff=me.is_staff)
    return MediaGrant(
        room=meeting_id,
        identity=me.media_identity or "",
        name=me.user_name,
        sources=SPEAK + PRESENT if may_present else SPEAK,
    )
