"""Reactions and typing: checked like everything else, kept nowhere. Pure: no database, so that they may be frequent."""

from shared.participants.permissions import CHAT_SEND, POLICY_HOST_ONLY, REACTION_SEND, demand, may
from shared.participants.standing import Standing
from shared.policies.errors import ChatDisabled, ReactionsDisabled
from shared.policies.remedies import refusal
from shared.policies.service import permits
from shared.signals.events import Reacted, Typing

REACTION_TYPES = ("thumbs_up", "thumbs_down", "clap", "heart", "laugh", "surprised", "party", "wave")


def react(standing: Standing, reaction_type: str) -> Reacted:
    """Return a reaction, to be told to everybody inside. Raises ReactionsDisabled."""
    me = standing.me
    demand(me, REACTION_SEND)
    if not standing.policy.enable_reactions:
        raise refusal(ReactionsDisabled, "enable_reactions")
    return Reacted(meeting_id=me.meeting_id, actor_id=me.user_id, participant=me, reaction_type=reaction_type)


def show_typing(standing: Standing, is_typing: bool) -> Typing:
    """Return the news that somebody types, or stopped. Raises ChatDisabled."""
    me = standing.me
    demand(me, CHAT_SEND)
    if not permits(standing.policy.chat_permissions, is_staff=may(me, POLICY_HOST_ONLY)):
        raise refusal(ChatDisabled, "chat_permissions")
    if not me.can_chat:
        raise refusal(ChatDisabled, "can_chat")
    return Typing(meeting_id=me.meeting_id, actor_id=me.user_id, participant=me, is_typing=is_typing)
