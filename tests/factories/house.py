"""A running meeting with somebody of every kind, and a request for every door."""

from typing import Any, NamedTuple

from sqlalchemy import select

import web.app  # noqa: F401  makes the doors
from shared.meetings.models import meetings
from shared.models import METADATA
from shared.participants import batch
from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import API, Answer, Person, World
from web.http.door import DOORS, Door

# What a request must bring to be understood; `id` stands for that of a bystander who is inside, or who waits.
TEXT = {"content": "hello", "message_type": "text"}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/meetings"): {"title": "Another"},
    ("PATCH", "/meetings/<meeting_id>"): {"title": "Changed"},
    ("POST", "/meetings/<meeting_id>/chat"): TEXT,
    ("PATCH", "/meetings/<meeting_id>/chat/<message_id>"): {"content": "changed"},
    ("POST", "/meetings/<meeting_id>/chat/<message_id>/reactions"): {"emoji": "\U0001f44d"},
    ("POST", "/meetings/<meeting_id>/reactions"): {"reaction_type": "clap"},
    ("POST", "/meetings/<meeting_id>/waiting-room/admit"): {"all": True},
    ("POST", "/meetings/<meeting_id>/waiting-room/deny"): {"participant_ids": ["id"]},
    ("POST", "/meetings/<meeting_id>/waiting-room/message"): {"text": "soon"},
    ("PATCH", "/meetings/<meeting_id>/participants/<participant_id>"): {"is_muted": True},
    ("POST", "/meetings/<meeting_id>/participants/batch"): {"filter": {}, "set": {"is_muted": True}},
    ("PUT", "/meetings/<meeting_id>/participants/status"): {"is_muted": True},
    ("POST", "/meetings/<meeting_id>/security/policy"): {"allow_anonymous_join": True},
    ("PATCH", "/meetings/<meeting_id>/security/policy"): {"mute_on_entry": True},
    ("POST", "/webhooks"): {"url": "https://203.0.114.7/hook", "events": ["chat.message"]},
    ("PATCH", "/webhooks/<webhook_id>"): {"description": "Changed"},
    ("POST", "/webhooks/<webhook_id>/replay"): {"from_seq": 1, "meeting_id": "id"},
    ("POST", "/meetings/<meeting_id>/security/policy/simulate"): {"policy": {"mute_on_entry": True}},
}
OF_MEETINGS = [door for door in DOORS if "<meeting_id>" in door.path]
IN_HOUSE = [door for door in DOORS if door.permission is not None]


def name_of(door: Door) -> str:
    """Return what a door is called in a report."""
    return f"{door.method} {door.path.removeprefix(API)}"


class House(NamedTuple):
    """A running meeting with somebody of every kind, a bystander, and a waiter who is nobody of them."""

    world: World
    id: str
    people: dict[str, Person]
    bystander: str
    waiting: str
    messages: dict[str, str]

    def request(self, door: Door, who: str) -> tuple[str, str, Any]:
        """Return method, path and body for a door; what one may do to one's own is done to one's own."""
        path = door.path.removeprefix(API)
        body = BODIES.get((door.method, path), {} if door.method in ("POST", "PUT", "PATCH") else None)
        if body and body.get("participant_ids"):
            body = {**body, "participant_ids": [self.waiting]}
        path = path.replace("<meeting_id>", self.id).replace("<participant_id>", self.bystander)
        if "<webhook_id>" in path:
            path = path.replace("<webhook_id>", self._webhook_of(who))
        if body and "from_seq" in body:
            body = {**body, "meeting_id": self.id}
        path = path.replace("<message_id>", self.messages.get(who, self.messages["host"]))
        if "<job_id>" in path:
            job_id = self.people["host"].post(f"/meetings/{self.id}/mute-all").data["job_id"]
            path = path.replace("<job_id>", self._done(job_id))
        return door.method, path, body

    def _done(self, job_id: str) -> str:
        """Do a job at once: a worker that happens to run would do it while the test looks."""
        is_more = True
        while is_more:
            with self.world.runtime.transaction() as tx:
                is_more = batch.work_chunk(tx, job_id)
        return job_id

    def _webhook_of(self, who: str) -> str:
        made = self.people[who].post("/webhooks", BODIES["POST", "/webhooks"])
        return str(made.data["webhook_id"]) if made.status == 201 else UNKNOWN

    def ask(self, door: Door, who: str) -> Answer:
        """Send the request of a door as somebody."""
        return self.people[who].call(*self.request(door, who))

    def state(self) -> dict[str, Any]:
        """Return all that the database knows of the meeting, and of its host's other ones; but for the audit trail,
        which grows when somebody is refused."""
        with self.world.runtime.reading() as tx:
            return {
                name: sorted(map(repr, tx.all(select(table).where(table.c.meeting_id == self.id))))
                for name, table in METADATA.tables.items()
                if "meeting_id" in table.c and name not in ("idempotency_keys", "audit_events", "audit_heads")
            } | {"meetings": tx.all(select(meetings).where(meetings.c.host_id == self.people["host"].id))}

    def trail(self) -> list[tuple[str, str]]:
        """Return the audit trail: who, by participant or user id, and the outcome."""
        told = self.people["host"].get(f"/meetings/{self.id}/security/events?limit=200").data
        return [(row["actor"]["participant_id"] or row["actor"]["user_id"], row["outcome"]) for row in told]


def plan(world: World) -> House:
    """Return a meeting before its start, with somebody of every kind there can be by then."""
    host, invited, removed, by = (world.person(name) for name in ("Hosta", "Ina", "Remo", "Bystander"))
    meeting_id = world.meeting(host, start=False, invitees=[invited.email, removed.email, by.email])
    listed = host.get(f"/meetings/{meeting_id}/participants?status=invited").data
    seats = {place["user_id"]: place["participant_id"] for place in listed}
    assert host.post(f"/meetings/{meeting_id}/participants/{seats[removed.id]}/remove").status == 200
    people = {
        "host": host,
        "co-host": co_host(world, meeting_id),
        "invited": invited,
        "removed": removed,
        "outsider": world.person(),
    }
    return House(world, meeting_id, people, seats[by.id], seats[by.id], {"host": UNKNOWN})


def furnish(world: World) -> House:
    """Return a new house."""
    host, by, waiter = world.person("Hosta"), world.person("Bystander"), world.person("Wanda")
    invited = world.person("Ina")
    meeting_id = world.meeting(host, policy={"allow_anonymous_join": True}, invitees=[invited.email])
    people = {
        "host": host,
        "co-host": co_host(world, meeting_id),
        "attendee": world.person(),
        "invited": invited,
        "left": world.person(),
        "removed": world.person(),
        "waiter": world.person(),
        "outsider": world.person(),
    }
    seats = {
        who: world.inside(meeting_id, people[who])[0] for who in ("host", "co-host", "attendee", "left", "removed")
    }
    (bystander,) = world.inside(meeting_id, by)
    guest = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Gus"}).data
    people["guest"] = world.guest(guest["guest_token"])
    said = {
        who: people[who].post(f"/meetings/{meeting_id}/chat", TEXT).data["message_id"]
        for who in ("host", "co-host", "attendee", "guest", "left", "removed")
    }
    people["left"].post(f"/meetings/{meeting_id}/leave")
    assert host.post(f"/meetings/{meeting_id}/participants/{seats['removed']['participant_id']}/remove").status == 200
    host.patch(f"/meetings/{meeting_id}/security/policy", {"require_waiting_room": True})
    waiting = [p.post(f"/meetings/{meeting_id}/join").data["participant_id"] for p in (people["waiter"], waiter)]
    return House(world, meeting_id, people, bystander["participant_id"], waiting[1], said)
