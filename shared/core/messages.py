"""The grammar of what follows from a change: events that happened, jobs to be done.

Events are frozen dataclasses, named in the past tense, declared in `<capability>/events.py`. A `MeetingEvent` is kept
in the ledger of its stream; a `Signal` is told to whoever listens and forgotten; a plain `Event` only reaches the
listeners inside the transaction. Jobs are frozen dataclasses, named in the imperative, in `<capability>/jobs.py`.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from shared.core.streams import meeting_stream

Lane = Literal["fast", "default", "media", "maintenance", "webhooks"]
JOBS: dict[str, type["Job"]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for the listeners in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement(Event):
    """Something that is told to the clients of a meeting, in a frame of type `type` on the stream `stream`.

    `actor_id` is the user who caused it (None for guests and for the system); it becomes `user_id` of the frame.
    """

    type: ClassVar[str]
    meeting_id: str
    actor_id: str | None = None

    @property
    def stream(self) -> str:
        """Return the key of the stream this belongs to; the stream of all admitted unless a subclass says otherwise."""
        return meeting_stream(self.meeting_id)

    def data(self) -> dict[str, Any]:
        """Return the `data` of the frame."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingEvent(Announcement):
    """An announcement that is kept: it gets the next `seq` of its stream, in the transaction of the change.

    `final_word` events are still written when the stream is closed, which happens when the meeting ends.
    `effect` tells the hubs what to do beside delivering (see shared.realtime.effects); None for most.
    """

    final_word: ClassVar[bool] = False

    @property
    def effect(self) -> str | None:
        """Return what hubs do when they deliver this event."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Announcement):
    """An announcement that is not kept: at most once, no `seq` (reactions, typing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work for a Celery worker. `name` is the task, `lane` the queue. Fields are JSON values: ids, never secrets."""

    name: ClassVar[str]
    lane: ClassVar[Lane] = "default"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # A dataclass with slots is made twice, so the second class of the same name replaces the first.
        super(Job, cls).__init_subclass__(**kwargs)
        JOBS[cls.name] = cls

    def payload(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)
