"""Why, and what would help: what every refusal of a policy carries in its details (contract 6)."""

from shared.core.errors import DomainError

REMEDIES = {
    "status": "Wait until the meeting has been started.",
    "blocked_users": "Only a host can lift this.",
    "allow_anonymous_join": "Log in with an account and join again.",
    "allowed_domains": "Log in with an address of one of the allowed domains, or ask a host to invite you.",
    "require_password": "Ask a host for the passcode and join with it.",
    "lock_meeting": "Ask a host to unlock the meeting.",
    "max_participants": "Wait until somebody leaves, or ask a host to raise the limit.",
    "require_waiting_room": "Wait until a host admits you.",
    "join_approval_mode": "Wait until a host admits you.",
    "sent_back": "Wait until a host admits you again.",
    "chat_permissions": "Ask a host to allow chat.",
    "can_chat": "Ask a host to let you write again.",
    "can_publish": "Ask a host to let you speak again.",
    "disable_camera": "Ask a host to allow cameras.",
    "screen_share_permissions": "Ask a host to allow you to share your screen.",
    "enable_hand_raise": "Ask a host to switch raising hands on.",
    "enable_reactions": "Ask a host to switch reactions on.",
    "enable_file_sharing": "Ask a host to switch file sharing on.",
    "author": "Ask its author to do it.",
    "themselves": "Ask the person to do it.",
    "oneself": "Leave instead.",
    "series_of": "Ask who made the meeting to make the next one.",
    "target_role": "Change the role first.",
}


def refusal(error: type[DomainError], rule: str, message: str | None = None, **more: object) -> DomainError:
    """Return a refusal that says which rule decided and what would help; `more` are further details."""
    return error(message, details={"rule": rule, "remedy": REMEDIES[rule], **more})
