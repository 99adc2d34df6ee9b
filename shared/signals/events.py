"""Signals: told once to whoever listens, never kept (contract 11: `stream` and `seq` are null)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shared.core.messages import Signal
from shared.participants.models import Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class Reacted(Signal):
    """Somebody claps, laughs …"""

    type: ClassVar[str] = "reaction"
    participant: Participant
    reaction_type: str

    def data(self) -> dict[str, Any]:
        """Return who, and how."""
        p = self.participant
        return {
            "participant_id": p.id,
            "user_id": p.user_id,
            "user_name": p.user_name,
            "reaction_type": self.reaction_type,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing(Signal):
    """Somebody types, or stopped."""

    type: ClassVar[str] = "typing"
    participant: Participant
    is_typing: bool

    def data(self) -> dict[str, Any]:
        """Return who, and whether."""
        p = self.participant
        return {"participant_id": p.id, "user_id": p.user_id, "user_name": p.user_name, "is_typing": self.is_typing}
