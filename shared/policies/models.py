"""The security policy of a meeting: one row, every field of contract 6."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Integer, Row, String, Table

from shared.core.database import METADATA, Id, Json, UtcDateTime

HOST, ALL, NONE = "host", "all", "none"
WAIT, PROMOTE, END = "wait", "promote", "end"  # what happens when no host is inside
NOTIFY, CLOSE = "notify", "close"  # what happens when nobody answers the waiting room; or PROMOTE
AUTOMATIC, MANUAL, DOMAIN_RESTRICTED = "automatic", "manual", "domain_restricted"

policies = Table(
    "policies",
    METADATA,
    Column("meeting_id", Id, ForeignKey("meetings.id"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("passcode_hash", String(100)),
    Column("require_waiting_room", Boolean, nullable=False),
    Column("require_password", Boolean, nullable=False),
    Column("allow_anonymous_join", Boolean, nullable=False),
    Column("max_participants", Integer, nullable=False),
    Column("allowed_domains", Json, nullable=False),
    Column("blocked_users", Json, nullable=False),
    Column("recording_permissions", String(4), nullable=False),
    Column("screen_share_permissions", String(4), nullable=False),
    Column("chat_permissions", String(4), nullable=False),
    Column("mute_on_entry", Boolean, nullable=False),
    Column("disable_camera", Boolean, nullable=False),
    Column("lock_meeting", Boolean, nullable=False),
    Column("enable_breakout_rooms", Boolean, nullable=False),
    Column("enable_polls", Boolean, nullable=False),
    Column("enable_whiteboard", Boolean, nullable=False),
    Column("enable_file_sharing", Boolean, nullable=False),
    Column("enable_reactions", Boolean, nullable=False),
    Column("enable_hand_raise", Boolean, nullable=False),
    Column("enable_e2e_encryption", Boolean, nullable=False),
    Column("idle_timeout_minutes", Integer, nullable=False),
    Column("meeting_duration_minutes", Integer, nullable=False),
    Column("join_approval_mode", String(20), nullable=False),
    Column("custom_settings", Json, nullable=False),
    Column("host_handover", String(7), nullable=False, server_default=WAIT),
    Column("host_handover_minutes", Integer, nullable=False, server_default="5"),
    Column("waiting_room_timeout_minutes", Integer, nullable=False, server_default="0"),
    Column("waiting_room_escalation", String(7), nullable=False, server_default=NOTIFY),
    CheckConstraint("max_participants BETWEEN 1 AND 10000", name="max_participants"),
    CheckConstraint("join_approval_mode IN ('automatic', 'manual', 'domain_restricted')", name="approval"),
    CheckConstraint("host_handover IN ('wait', 'promote', 'end')", name="handover"),
    CheckConstraint("waiting_room_escalation IN ('notify', 'promote', 'close')", name="escalation"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one meeting. The defaults are those of contract 6; four rules are ours."""

    meeting_id: str
    version: int
    updated_at: datetime
    passcode_hash: str | None
    require_waiting_room: bool
    require_password: bool
    allow_anonymous_join: bool
    max_participants: int
    allowed_domains: list[str]
    blocked_users: list[str]
    recording_permissions: str
    screen_share_permissions: str
    chat_permissions: str
    mute_on_entry: bool
    disable_camera: bool
    lock_meeting: bool
    enable_breakout_rooms: bool
    enable_polls: bool
    enable_whiteboard: bool
    enable_file_sharing: bool
    enable_reactions: bool
    enable_hand_raise: bool
    enable_e2e_encryption: bool
    idle_timeout_minutes: int
    meeting_duration_minutes: int
    join_approval_mode: str
    custom_settings: dict[str, Any]
    host_handover: str
    host_handover_minutes: int
    waiting_room_timeout_minutes: int
    waiting_room_escalation: str

    @classmethod
    def of(cls, row: Row[Any]) -> "Policy":
        """Build a policy from a row of `policies`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__})

    def public(self, *, for_staff: bool) -> dict[str, Any]:
        """Return the policy as a client may see it: never the passcode; who is blocked only to hosts."""
        hidden = {"passcode_hash"} if for_staff else {"passcode_hash", "blocked_users", "custom_settings"}
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        return {**shown, "has_passcode": self.passcode_hash is not None}


DEFAULTS: dict[str, Any] = {
    "require_waiting_room": False,
    "require_password": False,
    "allow_anonymous_join": False,
    "max_participants": 100,
    "allowed_domains": [],
    "blocked_users": [],
    "recording_permissions": HOST,
    "screen_share_permissions": ALL,
    "chat_permissions": ALL,
    "mute_on_entry": False,
    "disable_camera": False,
    "lock_meeting": False,
    "enable_breakout_rooms": True,
    "enable_polls": True,
    "enable_whiteboard": True,
    "enable_file_sharing": True,
    "enable_reactions": True,
    "enable_hand_raise": True,
    "enable_e2e_encryption": False,
    "idle_timeout_minutes": 0,
    "meeting_duration_minutes": 0,
    "join_approval_mode": AUTOMATIC,
    "custom_settings": {},
    "host_handover": WAIT,
    "host_handover_minutes": 5,
    "waiting_room_timeout_minutes": 0,
    "waiting_room_escalation": NOTIFY,
}
