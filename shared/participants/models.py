"""Tables of participants: a person's place in a meeting, and each of its stays."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Row,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)

from shared.core.database import METADATA, Id, UtcDateTime

INVITED, WAITING, JOINED, LEFT, REMOVED, DENIED = "invited", "waiting", "joined", "left", "removed", "denied"
STATUSES = (INVITED, WAITING, JOINED, LEFT, REMOVED, DENIED)
HOST, CO_HOST, ATTENDEE = "host", "co-host", "attendee"
ROLES = (HOST, CO_HOST, ATTENDEE)
STAFF = (HOST, CO_HOST)
CONNECTED, RECONNECTING = "connected", "reconnecting"

participants = Table(
    "meeting_participants",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("meeting_id", Id, ForeignKey("meetings.id"), nullable=False),
    Column("user_id", Id, ForeignKey("users.id")),  # null for guests
    Column("user_name", String(100), nullable=False),
    Column("role", String(8), nullable=False),
    Column("status", String(8), nullable=False),
    Column("is_banned", Boolean, nullable=False, default=False),
    Column(
        "was_admitted", Boolean, nullable=False, default=False
    ),  # by a host, from the waiting room, for this meeting
    # A host sent the person back to the waiting room: only a host opens the door again, whatever the policy says.
    Column("is_sent_back", Boolean, nullable=False, default=False, server_default=false()),
    Column("can_publish", Boolean, nullable=False, default=True, server_default=true()),
    Column("can_chat", Boolean, nullable=False, default=True, server_default=true()),
    Column("is_muted", Boolean, nullable=False, default=False),
    Column("is_video_enabled", Boolean, nullable=False, default=True),
    Column("is_screen_sharing", Boolean, nullable=False, default=False),
    Column("is_hand_raised", Boolean, nullable=False, default=False),
    Column("hand_raised_at", UtcDateTime),
    Column("device_type", String(40)),
    Column("joined_at", UtcDateTime),
    Column("left_at", UtcDateTime),
    Column("waiting_since", UtcDateTime),
    Column("escalated_at", UtcDateTime),  # when the policy saw to it that nobody had answered; counts for this wait
    Column("presence", String(12)),  # null: has never had a WebSocket in this stay
    Column("disconnected_at", UtcDateTime),
    Column("media_identity", String(40)),  # LiveKit identity of this stay: random, so it tells nothing
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("meeting_id", "user_id"),
    CheckConstraint("status IN ('invited', 'waiting', 'joined', 'left', 'removed', 'denied')", name="status"),
    CheckConstraint("role IN ('host', 'co-host', 'attendee')", name="role"),
    CheckConstraint("NOT (is_banned AND status IN ('joined', 'waiting'))", name="banned_is_out"),
    Index("ix_meeting_participants_meeting_id_status", "meeting_id", "status"),
    Index("ix_meeting_participants_user_id", "user_id"),
    Index("ix_meeting_participants_presence", "presence", "disconnected_at"),
)

# Each time somebody was inside. `entered_seq` and `left_seq` are numbers of the meeting's stream: between them the
# person was there, and only those events (and that chat) are theirs to read afterwards.
stays = Table(
    "stays",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("participant_id", Id, ForeignKey("meeting_participants.id"), nullable=False),
    Column("meeting_id", Id, ForeignKey("meetings.id"), nullable=False),
    Column("entered_at", UtcDateTime, nullable=False),
    Column("entered_seq", BigInteger, nullable=False),
    Column("left_at", UtcDateTime),
    Column("left_seq", BigInteger),
    Column("media_identity", String(40)),  # the participant's own has become another one by the next stay
    CheckConstraint("left_at IS NULL OR left_at >= entered_at", name="order"),
    Index("ix_stays_participant_id", "participant_id"),
    Index("ix_stays_meeting_id", "meeting_id"),
    Index("ix_stays_media_identity", "media_identity"),
    Index(
        "uq_stays_open",
        "participant_id",
        unique=True,
        sqlite_where=text("left_at IS NULL"),
        postgresql_where=text("left_at IS NULL"),
    ),
)

# Invitations to addresses that have no account yet; they become places when the account is made.
invitations = Table(
    "invitations",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("meeting_id", Id, ForeignKey("meetings.id"), nullable=False),
    Column("email", String(254), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("meeting_id", "email"),
)


@dataclass(frozen=True, slots=True)
class Participant:
    """A person's place in a meeting."""

    id: str
    meeting_id: str
    user_id: str | None
    user_name: str
    role: str
    status: str
    is_banned: bool
    was_admitted: bool
    is_sent_back: bool
    can_publish: bool
    can_chat: bool
    is_muted: bool
    is_video_enabled: bool
    is_screen_sharing: bool
    is_hand_raised: bool
    hand_raised_at: datetime | None
    device_type: str | None
    joined_at: datetime | None
    left_at: datetime | None
    waiting_since: datetime | None
    presence: str | None
    disconnected_at: datetime | None
    media_identity: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Participant":
        """Build a participant from a row of `participants`."""
        return cls(*(getattr(row, name) for name in cls.__slots__))

    @classmethod
    def invited(
        cls, id_: str, meeting_id: str, user_id: str | None, user_name: str, role: str, now: datetime
    ) -> "Participant":
        """Return the place of somebody who has not come yet, as a new row has it."""
        return cls(
            id=id_,
            meeting_id=meeting_id,
            user_id=user_id,
            user_name=user_name,
            role=role,
            status=INVITED,
            is_banned=False,
            was_admitted=False,
            is_sent_back=False,
            can_publish=True,
            can_chat=True,
            is_muted=False,
            is_video_enabled=True,
            is_screen_sharing=False,
            is_hand_raised=False,
            hand_raised_at=None,
            device_type=None,
            joined_at=None,
            left_at=None,
            waiting_since=None,
            presence=None,
            disconnected_at=None,
            media_identity=None,
            created_at=now,
        )

    @property
    def is_staff(self) -> bool:
        """Tell whether this is a host or co-host."""
        return self.role in STAFF

    @property
    def is_inside(self) -> bool:
        """Tell whether this person is in the meeting now."""
        return self.status == JOINED

    @property
    def was_inside(self) -> bool:
        """Tell whether this person is out and was in the meeting before; a waiter who went away never was."""
        return self.status == LEFT and self.joined_at is not None

    def public(self) -> dict[str, Any]:
        """Return what other participants may see (contract 4): never an address or an e-mail."""
        return {
            "participant_id": self.id,
            "user_id": self.user_id,
            "user_name": self.user_name,
            "role": self.role,
            "status": self.status,
            "is_muted": self.is_muted,
            "is_video_enabled": self.is_video_enabled,
            "is_screen_sharing": self.is_screen_sharing,
            "is_hand_raised": self.is_hand_raised,
            "hand_raised_at": self.hand_raised_at,
            "can_publish": self.can_publish,
            "can_chat": self.can_chat,
            "joined_at": self.joined_at,
            "left_at": self.left_at,
            "device_type": self.device_type,
            "breakout_room_id": None,
        }
