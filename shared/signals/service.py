"""Reactions and typing: checked like everything else, kept nowhere."""

from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.participants.queries import get_inside
from shared.policies.cache import get_policy
from shared.policies.errors import ChatDisabled, ReactionsDisabled
from shared.policies.service import permits
from shared.signals.events import Reacted, Typing

REACTION_TYPES = ("thumbs_up", "thumbs_down", "clap", "heart", "laugh", "surprised", "party", "wave")


def react(tx: Transaction, meeting_id: str, actor: Actor, reaction_type: str) -> Reacted:
    """Show a reaction to everybody inside. Emits Reacted.

    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, NotInside, ReactionsDisabled.
    """
    membership = get_inside(tx, meeting_id, actor)
    me = membership.me
    if not get_policy(tx, membership.meeting).enable_reactions:
        raise ReactionsDisabled(details={"rule": "enable_reactions"})
    event = Reacted(meeting_id=meeting_id, actor_id=actor.user_id, participant=me, reaction_type=reaction_type)
    tx.emit(event)
    return event


def show_typing(tx: Transaction, meeting_id: str, actor: Actor, is_typing: bool) -> None:
    """Show that somebody types. Emits Typing. Raises as `react`, ChatDisabled."""
    membership = get_inside(tx, meeting_id, actor)
    me = membership.me
    if not permits(get_policy(tx, membership.meeting).chat_permissions, is_staff=me.is_staff):
        raise ChatDisabled(details={"rule": "chat_permissions"})
    tx.emit(Typing(meeting_id=meeting_id, actor_id=actor.user_id, participant=me, is_typing=is_typing))
