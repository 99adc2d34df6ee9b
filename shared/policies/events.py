"""What happens to policies."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shared.core.messages import Event, MeetingEvent
from shared.meetings.models import Meeting
from shared.policies.models import Policy
from shared.realtime import effects


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChangeBegun(Event):
    """The rules are changing in this transaction. Before anything is told, listeners lock what they will change."""

    meeting: Meeting
    before: Policy
    after: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged(MeetingEvent):
    """The rules of a meeting are different. Told as attendees may see them; listeners get them whole."""

    type: ClassVar[str] = "policy"
    meeting: Meeting
    before: Policy
    after: Policy

    def data(self) -> dict[str, Any]:
        """Return the rules as they are now, and the names of those that are different."""
        before, after = self.before.public(for_staff=False), self.after.public(for_staff=False)
        own = {"version", "updated_at"}
        return {
            "version": self.after.version,
            "changed": sorted(name for name in after.keys() - own if after[name] != before[name]),
            "policy": after,
        }

    @property
    def effect(self) -> str | None:
        """Have looked up anew what everybody may do."""
        return effects.renew()
