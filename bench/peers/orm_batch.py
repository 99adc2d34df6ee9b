"""A batch of changes as one would write it with an ORM: objects, a unit of work, and an event for each person.

On the product's own tables, and at its best: the people are loaded with one query, everything is written by one flush,
and the messages go out together. It judges as the product does; there is no job whose progress is kept.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import redis
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, registry

from shared.core import ledger
from shared.core.streams import meeting_stream
from shared.meetings.models import IN_PROGRESS, meetings
from shared.participants.models import HOST, JOINED, STAFF, participants

_registry = registry()


@_registry.mapped
class Meeting:
    """A meeting."""

    __table__ = meetings


@_registry.mapped
class Person:
    """Somebody's place in a meeting."""

    __table__ = participants


@_registry.mapped
class Stream:
    """The numbers of a meeting's events."""

    __table__ = ledger.streams


@_registry.mapped
class Event:
    """An event of a meeting."""

    __table__ = ledger.events


class NotAllowed(Exception):
    """The actor may not, or the meeting does not run."""


def change(
    engine: Engine,
    client: "redis.Redis",
    meeting_id: str,
    user_id: str,
    updates: Sequence[Mapping[str, Any]],
    now: datetime,
) -> int:
    """Change people as `updates` say, `{participant_id, …flags}` each; return how many could be changed."""
    messages: list[bytes] = []
    new_event: Any = Event  # the mapper gives it a constructor
    with Session(engine) as session, session.begin():
        meeting: Any = session.get_one(Meeting, meeting_id, with_for_update=True)
        me: Any = session.scalars(select(Person).filter_by(meeting_id=meeting_id, user_id=user_id)).one()
        if meeting.status != IN_PROGRESS or me.status != JOINED or me.role not in STAFF:
            raise NotAllowed
        wanted = [each["participant_id"] for each in updates]
        query = select(Person).where(Person.meeting_id == meeting_id, Person.id.in_(wanted)).with_for_update()  # type: ignore[attr-defined]
        people: dict[str, Any] = {person.id: person for person in session.scalars(query)}  # type: ignore[attr-defined]
        stream: Any = session.get_one(Stream, meeting_stream(meeting_id), with_for_update=True)
        for each in updates:
            person = people.get(each["participant_id"])
            if person is None or person.status != JOINED or (person.role == HOST and me.role != HOST):
                continue
            for name in each.keys() - {"participant_id"}:
                setattr(person, name, each[name])
            stream.seq += 1
            data = orjson.dumps(dict(each)).decode()
            session.add(
                new_event(
                    stream=stream.key,
                    seq=stream.seq,
                    meeting_id=meeting_id,
                    type="participant_update",
                    actor_id=user_id,
                    data=data,
                    created_at=now,
                )
            )
            messages.append(orjson.dumps({"type": "participant_update", "seq": stream.seq, "data": dict(each)}))
    pipeline = client.pipeline(transaction=False)
    for message in messages:
        pipeline.publish(f"meeting:{meeting_id}", message)
    pipeline.execute()
    return len(messages)
