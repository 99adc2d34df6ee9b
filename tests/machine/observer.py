"""What can be seen of a meeting: row by row in the database after every call, and over the API as a host sees it."""

from typing import Any

from sqlalchemy import select

from shared.core.ledger import events
from shared.meetings.models import meetings
from shared.models import METADATA
from tests.factories.world import Person, World
from tests.machine.model import Model

# Refusals are counted and told of, which is meant: guesses of a passcode, and the audit trail. Of events the heads
# of their streams tell enough.
LEFT_OUT = ("idempotency_keys", "passcode_attempts", "ws_tickets", "audit_events", "audit_heads", "events")
TABLES = {name: table for name, table in sorted(METADATA.tables.items()) if "meeting_id" in table.c}
ROWS = {name: select(table).order_by(*table.primary_key) for name, table in TABLES.items() if name not in LEFT_OUT}
SEEN = (
    "role",
    "status",
    "is_muted",
    "is_video_enabled",
    "is_screen_sharing",
    "is_hand_raised",
    "can_publish",
    "can_chat",
)
State = dict[str, list[Any]]


class Observer:
    """Looks at one meeting. `ids` are the participant ids by the names of the people."""

    def __init__(self, world: World, meeting_id: str, people: dict[str, Person]) -> None:
        self._world, self._id, self._people = world, meeting_id, people
        self._rows = {name: query.where(TABLES[name].c.meeting_id == meeting_id) for name, query in ROWS.items()} | {
            "meetings": select(meetings).where(meetings.c.id == meeting_id)
        }
        self.ids: dict[str, str] = {}
        self._seated = 0

    def find_ids(self, model: Model) -> None:
        """Learn the participant ids of those who are invited."""
        by_user = {person.id: name for name, person in self._people.items()}
        self.ids = {by_user[one["user_id"]]: one["participant_id"] for one in self._get(model, "/participants")}

    def state(self) -> State:
        """Return every row that the database has of the meeting."""
        with self._world.runtime.reading() as tx:
            return {name: list(tx.all(query)) for name, query in self._rows.items()}

    def compare(self, state: State, model: Model) -> None:
        """Check that the rows say what the model says, and what must be true of every meeting."""
        people = state["meeting_participants"]
        self._compare_people({row.id: {name: getattr(row, name) for name in SEEN} for row in people}, model)
        waiting = sorted(
            (row for row in people if row.status == "waiting"), key=lambda row: (row.waiting_since, row.id)
        )
        assert [row.id for row in waiting] == [self.ids[name] for name in model.queue], "the queue is another one"
        meeting, policy = state["meetings"][0], state["policies"][0]
        assert meeting.status == model.status, f"the meeting is {meeting.status}"
        self._compare_policy({**policy._mapping, "has_passcode": policy.passcode_hash is not None}, model)
        seated = sum(row.status == "joined" and row.role == "attendee" for row in people)
        assert meeting.seats_taken == seated, "seats are counted wrong"
        assert seated <= max(model.policy["max_participants"], self._seated), "more people than seats"
        assert any(row.role == "host" for row in people), "nobody is the host"
        self._seated = seated

    def _compare_people(self, seen: dict[str, dict[str, Any]], model: Model) -> None:
        expected = {
            self.ids[name]: {field: getattr(place, field) for field in SEEN} for name, place in model.places.items()
        }
        assert seen == expected, f"places: {_difference(seen, expected)}"

    def _compare_policy(self, seen: dict[str, Any], model: Model) -> None:
        blocked = [self._people[name].id for name in model.policy["blocked_users"]]
        rules = {**model.policy, "blocked_users": blocked}
        expected = {**rules, "version": model.version, "has_passcode": model.passcode is not None}
        found = {name: seen[name] for name in expected}
        assert found == expected, f"policy: {_difference(found, expected)}"

    def look(self, model: Model) -> None:
        """Check that a host sees over the API what the model says."""
        people = {one["participant_id"]: one for one in self._get(model, "/participants?limit=200")}
        self._compare_people({id_: {name: one[name] for name in SEEN} for id_, one in people.items()}, model)
        waiting = [(one["participant_id"], one["position"]) for one in self._get(model, "/waiting-room")]
        assert waiting == [(self.ids[name], place) for place, name in enumerate(model.queue, 1)]
        self._compare_policy(self._get(model, "/security/policy"), model)
        status = self._get(model, "/status")
        expected = {
            "status": model.status,
            "is_active": model.status == "in_progress",
            "active_participants": sum(place.is_inside for place in model.places.values()),
            "waiting_participants": len(model.queue),
            "attendance_count": len(model.attended),
            "is_locked": model.policy["lock_meeting"],
        }
        found = {name: status[name] for name in expected}
        assert found == expected, f"status: {_difference(found, expected)}"

    def _get(self, model: Model, rest: str) -> Any:
        host = next(place.who.name for place in model.places.values() if place.role == "host")
        return self._people[host].get(f"/meetings/{self._id}{rest}").data

    def check_streams(self, model: Model) -> None:
        """Check that every stream of the meeting counts 1, 2, 3 …, and that the API shows a host all of two."""
        with self._world.runtime.reading() as tx:
            rows = tx.all(select(events.c.stream, events.c.seq).where(events.c.meeting_id == self._id))
        streams: dict[str, list[int]] = {}
        for row in rows:
            streams.setdefault(row.stream, []).append(row.seq)
        for stream, numbers in streams.items():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), stream
        cursors = self._get(model, "/status")["cursors"]
        for name in ("meeting", "hosts"):
            seen = [event["seq"] for event in self._get(model, f"/events?limit=200&stream={name}")]
            assert seen == list(range(1, min(cursors[name], 200) + 1)), name


def _difference(seen: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Return what is seen and what was expected, where they differ."""
    keys = {**seen, **expected}
    return {key: (seen.get(key), expected.get(key)) for key in keys if seen.get(key) != expected.get(key)}
