"""The words of the model: who calls, who has which place, what was said, and how a call is refused.

The model imports nothing of the product. It is written from the contract; where that is silent the product's own
documents decide, and the line says "ours".
"""

from dataclasses import dataclass
from typing import Any

STAFF = ("host", "co-host")
DEFAULTS: dict[str, Any] = {
    "require_waiting_room": False,
    "require_password": False,
    "allow_anonymous_join": False,
    "max_participants": 100,
    "allowed_domains": [],
    "blocked_users": [],
    "screen_share_permissions": "all",
    "chat_permissions": "all",
    "mute_on_entry": False,
    "disable_camera": False,
    "lock_meeting": False,
    "enable_reactions": True,
    "enable_hand_raise": True,
    "join_approval_mode": "automatic",
}
TAKES_AWAY = {"is_muted": True, "is_video_enabled": False, "is_screen_sharing": False, "is_hand_raised": False}


class Refused(Exception):
    """The call must be answered with this status and code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status, self.code = status, code


def not_found() -> Refused:
    """The meeting is none of the caller's business."""
    return Refused(404, "MEETING_NOT_FOUND")


def nobody() -> Refused:
    """There is no such participant, or not where it would have to be."""
    return Refused(404, "PARTICIPANT_NOT_FOUND")


def forbidden() -> Refused:
    """The caller's role, or place, is too low."""
    return Refused(403, "INSUFFICIENT_PERMISSION")


@dataclass(frozen=True)
class Identity:
    """Somebody who calls the API; `domain` is that of the e-mail address, None for a guest."""

    name: str
    domain: str | None

    @property
    def is_guest(self) -> bool:
        """Tell whether this is somebody without an account."""
        return self.domain is None


@dataclass
class Place:
    """Somebody's place in the meeting."""

    who: Identity
    role: str = "attendee"
    status: str = "invited"
    is_banned: bool = False
    was_admitted: bool = False
    is_sent_back: bool = False
    was_inside: bool = False
    is_muted: bool = False
    is_video_enabled: bool = True
    is_screen_sharing: bool = False
    is_hand_raised: bool = False
    can_publish: bool = True
    can_chat: bool = True

    @property
    def is_staff(self) -> bool:
        """Tell whether this is a host or co-host."""
        return self.role in STAFF

    @property
    def is_inside(self) -> bool:
        """Tell whether this person is in the meeting."""
        return self.status == "joined"


@dataclass(frozen=True)
class Message:
    """What was said, by whom, to whom (None: to all), and who was inside."""

    content: str
    sender: str
    recipient: str | None
    audience: frozenset[str]
