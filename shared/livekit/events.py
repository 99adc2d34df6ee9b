"""What is told within a transaction about the media server."""

from dataclasses import dataclass

from shared.core.messages import Event
from shared.livekit.webhooks import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKitReported(Event):
    """LiveKit says that something happened. It may come late, and in another order than it happened."""

    report: Report
