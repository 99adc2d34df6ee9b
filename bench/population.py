"""People, meetings and places in them, by the thousand: written straight into the tables, as joins would leave them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Table

from shared.core.ids import new_id
from shared.identity.models import sessions, users
from shared.meetings.models import IN_PROGRESS, meetings
from shared.participants.models import ATTENDEE, HOST, JOINED, participants, stays
from shared.policies.models import DEFAULTS, policies
from shared.runtime import Runtime

AT_ONCE = 2000  # rows in one transaction: the product's statement timeout is for small ones
SESSION = timedelta(days=1)
Rows = list[dict[str, Any]]


class Person(NamedTuple):
    """Somebody with an open session."""

    user_id: str
    name: str
    token: str


class Population:
    """Grows on demand and is kept: making people once is enough, meetings are new for each run.

    `sign` makes the access token of a user and a session.
    """

    def __init__(self, runtime: Runtime, sign: Callable[[str, str], str]) -> None:
        self._runtime = runtime
        self._sign = sign
        self._people: list[Person] = []

    def people(self, count: int) -> Sequence[Person]:
        """Return so many people, always the same ones."""
        missing = count - len(self._people)
        if missing > 0:
            self._people.extend(self._new_people(missing))
        return self._people[:count]

    def _new_people(self, count: int) -> list[Person]:
        now = self._runtime.now()
        accounts: Rows = []
        opened: Rows = []
        people = []
        for number in range(len(self._people), len(self._people) + count):
            user_id, session_id, name = new_id(), new_id(), f"Person {number:04d}"
            email = f"{user_id.lower()}@example.com"
            accounts.append({"id": user_id, "email": email, "name": name, "password_hash": "none", "created_at": now})
            opened.append({"id": session_id, "user_id": user_id, "created_at": now, "expires_at": now + SESSION})
            people.append(Person(user_id, name, self._sign(user_id, session_id)))
        self._insert((users, accounts), (sessions, opened))
        return people

    def joined(self, rooms: int, size: int) -> list[str]:
        """Return the ids of new running meetings, with everybody of `people(rooms * size)` inside one of them: the
        people number `room * size` and following are in meeting `room`, the first of them as its host."""
        people = self.people(rooms * size)
        groups = [people[room * size : (room + 1) * size] for room in range(rooms)]
        ids = self._meetings([group[0] for group in groups], seats_taken=size - 1)
        now = self._runtime.now()
        places: Rows = []
        visits: Rows = []
        for meeting_id, group in zip(ids, groups, strict=True):
            for person in group:
                place = {
                    "id": new_id(),
                    "meeting_id": meeting_id,
                    "user_id": person.user_id,
                    "user_name": person.name,
                    "role": HOST if person is group[0] else ATTENDEE,
                    "status": JOINED,
                    "joined_at": now,
                    "media_identity": new_id(),
                    "created_at": now,
                }
                places.append(place)
                visits.append(
                    {
                        "id": new_id(),
                        "participant_id": place["id"],
                        "meeting_id": meeting_id,
                        "entered_at": now,
                        "entered_seq": 1,
                    }
                )
        self._insert((participants, places), (stays, visits))
        return ids

    def empty(self, count: int) -> list[str]:
        """Return the ids of new running meetings with nobody inside."""
        return self._meetings([self.people(1)[0]] * count, seats_taken=0)

    def _meetings(self, hosts: Sequence[Person], *, seats_taken: int) -> list[str]:
        now = self._runtime.now()
        made: Rows = [
            {
                "id": new_id(),
                "host_id": host.user_id,
                "title": "A meeting",
                "status": IN_PROGRESS,
                "started_at": now,
                "started_by": host.user_id,
                "seats_taken": seats_taken,
                "created_at": now,
            }
            for host in hosts
        ]
        rules: Rows = [
            {**DEFAULTS, "max_participants": 10_000, "meeting_id": row["id"], "version": 1, "updated_at": now}
            for row in made
        ]
        self._insert((meetings, made), (policies, rules))
        return [row["id"] for row in made]

    def _insert(self, *tables: tuple[Table, Rows]) -> None:
        for table, rows in tables:
            for some in _pieces(rows):
                with self._runtime.transaction() as tx:
                    tx.execute(table.insert(), some)


def _pieces(rows: Rows) -> Iterable[Rows]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))
