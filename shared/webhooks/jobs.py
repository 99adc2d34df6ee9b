"""Work at the servers of those who want to be told."""

from dataclasses import dataclass
from typing import ClassVar

from shared.core.messages import Job, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Job):
    """Send an endpoint what it was not told yet of a meeting, in order. `run` is the turn that was given for it."""

    name: ClassVar[str] = "webhooks.deliver"
    lane: ClassVar[Lane] = "webhooks"
    endpoint_id: str
    meeting_id: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTest(Job):
    """Send an endpoint a test event, once."""

    name: ClassVar[str] = "webhooks.send_test"
    lane: ClassVar[Lane] = "webhooks"
    delivery_id: str
