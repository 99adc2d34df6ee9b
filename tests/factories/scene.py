"""People and meetings made by the services alone, on the clock of the runtime that is given."""

import itertools
from typing import Any

from sqlalchemy import update

from shared.core import ledger
from shared.core.ids import new_id
from shared.core.ledger import Entry
from shared.core.streams import meeting_stream
from shared.identity import service as identity
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.meetings.models import Meeting
from shared.meetings.queries import get_meeting
from shared.meetings.service import MeetingWish
from shared.participants import leaving
from shared.participants import service as participants
from shared.participants.leaving import Departure
from shared.participants.membership import find_place
from shared.participants.models import CO_HOST, Participant
from shared.participants.models import participants as places
from shared.participants.queries import get_participant
from shared.participants.service import Admission, JoinWish
from shared.runtime import Runtime
from tests.factories.world import Person, World

_count = itertools.count(1)
UNKNOWN = "01JQ0000000000000000000404"  # has the form of an id, and names nothing


def change_place(runtime: Runtime, participant_id: str, **values: Any) -> None:
    """Write a state of a place for which there is no door in the test at hand (a role, a ban, a denial)."""
    with runtime.transaction() as tx:
        tx.execute(update(places).where(places.c.id == participant_id).values(**values))


def co_host(world: World, meeting_id: str, name: str = "") -> Person:
    """Return somebody new who is a co-host of the meeting and not inside yet."""
    person = world.person(name)
    with world.runtime.transaction() as tx:
        participants.add_place(tx, meeting_id, person.id, person.name, CO_HOST)
    return person


class Scene:
    """Makes what a test of a service needs, each time anew."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def user(self, name: str = "", email: str | None = None) -> Actor:
        """Return somebody with an account."""
        name = name or f"User {next(_count)}"
        address = email or f"{new_id().lower()}@example.com"
        with self.runtime.transaction() as tx:
            session = identity.register(tx, address, name, "not a hash")
        return Actor(name=name, user_id=session.user_id, email=address, session_id=session.session_id)

    def meeting(self, host: Actor, *, start: bool = True, **wishes: Any) -> str:
        """Make a meeting, started unless said otherwise; return its id."""
        with self.runtime.transaction() as tx:
            made = meetings.create(tx, host, MeetingWish(**{"title": "A meeting", **wishes}))
            if start:
                meetings.start(tx, made.id, host)
        return made.id

    def end(self, meeting_id: str, actor_id: str | None = None) -> Meeting:
        """End a meeting."""
        with self.runtime.transaction() as tx:
            return meetings.end(tx, meeting_id, actor_id)

    def join(self, meeting_id: str, actor: Actor | None, **wish: Any) -> Admission:
        """Let somebody (None: a new guest) ask for entry."""
        with self.runtime.transaction() as tx:
            return participants.join(tx, meeting_id, actor, JoinWish(**wish))

    def guest(self, meeting_id: str, name: str = "Guest") -> Actor:
        """Let a new guest ask for entry; return the actor behind the guest's token."""
        place = self.join(meeting_id, None, display_name=name).participant
        return Actor(name=place.user_name, participant_id=place.id, meeting_id=meeting_id)

    def co_host(self, meeting_id: str) -> Actor:
        """Return somebody new who is a co-host and not inside yet."""
        actor = self.user()
        with self.runtime.transaction() as tx:
            participants.add_place(tx, meeting_id, actor.user_id, actor.name, CO_HOST)
        return actor

    def leave(self, meeting_id: str, actor: Actor) -> Departure:
        """Let somebody go."""
        with self.runtime.transaction() as tx:
            return leaving.leave(tx, meeting_id, actor)

    def place(self, meeting_id: str, actor: Actor) -> Participant:
        """Return somebody's place as the database has it now."""
        with self.runtime.reading() as tx:
            found = find_place(tx, meeting_id, actor)
        assert found is not None
        return found

    def participant(self, meeting_id: str, participant_id: str) -> Participant:
        """Return a participant as the database has it now."""
        with self.runtime.reading() as tx:
            return get_participant(tx, meeting_id, participant_id)

    def state(self, meeting_id: str) -> Meeting:
        """Return the meeting as the database has it now."""
        with self.runtime.reading() as tx:
            return get_meeting(tx, meeting_id)

    def events(self, stream: str) -> list[Entry]:
        """Return a whole stream of the ledger, by its inner key."""
        with self.runtime.reading() as tx:
            return ledger.read(tx.connection, stream, 0, 1000)

    def told(self, meeting_id: str) -> list[str]:
        """Return the types of what everybody inside was told."""
        return [entry.type for entry in self.events(meeting_stream(meeting_id))]
