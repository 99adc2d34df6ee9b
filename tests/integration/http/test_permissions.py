"""Operation by operation and asker by asker: what is answered is what the table of permissions says (S27, S32b)."""

from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from dev.permissions import ASKERS, outcome
from shared.models import METADATA
from shared.participants.models import HOST
from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure
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
    ("PUT", "/meetings/<meeting_id>/participants/status"): {"is_muted": True},
    ("POST", "/meetings/<meeting_id>/security/policy"): {"allow_anonymous_join": True},
    ("PATCH", "/meetings/<meeting_id>/security/policy"): {"mute_on_entry": True},
}
OF_MEETINGS = [door for door in DOORS if "<meeting_id>" in door.path]
IN_HOUSE = [door for door in DOORS if door.permission is not None]


def name_of(door: Door) -> str:
    return f"{door.method} {door.path.removeprefix('/api/v1')}"


class House(NamedTuple):
    """A running meeting with somebody of every kind, a bystander, and a waiter who is nobody of them."""

    world: World
    id: str
    people: dict[str, Person]
    bystander: str
    waiting: str
    messages: dict[str, str]

    def ask(self, door: Door, who: str) -> Answer:
        """Send the request of a door as somebody; what one may do to one's own is done to one's own."""
        path = door.path.removeprefix("/api/v1")
        body = BODIES.get((door.method, path), {} if door.method in ("POST", "PUT", "PATCH") else None)
        if body and body.get("participant_ids"):
            body = {**body, "participant_ids": [self.waiting]}
        path = path.replace("<meeting_id>", self.id).replace("<participant_id>", self.bystander)
        path = path.replace("<message_id>", self.messages.get(who, self.messages["host"]))
        return self.people[who].call(door.method, path, body)

    def state(self) -> dict[str, Any]:
        """Return all that the database knows of the meeting."""
        with self.world.runtime.reading() as tx:
            return {
                name: sorted(map(repr, tx.all(select(table).where(table.c.meeting_id == self.id))))
                for name, table in METADATA.tables.items()
                if "meeting_id" in table.c and name != "idempotency_keys"
            } | {
                "meeting": tx.all(
                    select(METADATA.tables["meetings"]).where(METADATA.tables["meetings"].c.id == self.id)
                )
            }


def furnish(world: World) -> House:
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


@pytest.mark.parametrize("door", OF_MEETINGS, ids=name_of)
def test_s32b_everybody_gets_what_the_table_says_and_a_refusal_changes_nothing(world: World, door: Door):
    house = furnish(world)
    expected = {who: outcome(door.permission, door.who, who) for who in ASKERS}
    assert expected.keys() == house.people.keys()
    before = house.state()
    for who, wanted in expected.items():
        if wanted != "yes":
            _check_refusal(house.ask(door, who), door, wanted)
    assert house.state() == before
    for who in reversed([who for who, wanted in expected.items() if wanted == "yes"]):
        answer = house.ask(door, who)
        assert answer.code not in ("INSUFFICIENT_PERMISSION", "MEETING_NOT_FOUND", "VALIDATION_ERROR"), (
            who,
            answer.body,
        )
        assert answer.status not in (401, 405, 415, 429, 500, 503), (who, answer.body)


def _check_refusal(answer: Answer, door: Door, wanted: str) -> None:
    if wanted == "404":
        assert check_failure(answer, 404, "MEETING_NOT_FOUND").body["details"] == {}
        return
    details = check_failure(answer, 403, "INSUFFICIENT_PERMISSION").body["details"]
    assert door.permission is not None
    assert details["rule"] in (door.permission.name, "inside")
    assert details["remedy"].endswith(".")


@pytest.mark.parametrize("door", OF_MEETINGS, ids=name_of)
def test_s20_nobody_without_a_credential_gets_anything_but_a_way_in(world: World, door: Door):
    path = door.path.replace("<meeting_id>", UNKNOWN).replace("<participant_id>", UNKNOWN)
    path = path.replace("<message_id>", UNKNOWN).removeprefix("/api/v1")
    answer = world.nobody().call(door.method, path, None if door.method in ("GET", "DELETE") else {})
    if door.who == "anyone":
        check_failure(answer, 404, "MEETING_NOT_FOUND")
    else:
        check_failure(answer, 401, "UNAUTHENTICATED")


def test_a_guest_has_no_meetings_to_make_or_list(world: World):
    house = furnish(world)
    for door in IN_HOUSE:
        if "<meeting_id>" not in door.path:
            assert outcome(door.permission, door.who, "guest") == "401"
            check_failure(house.ask(door, "guest"), 401, "UNAUTHENTICATED")


def test_the_rights_behind_a_door_are_told_by_name_too(world: World):
    house = furnish(world)
    deputy, ann = house.people["co-host"], house.people["attendee"]
    host_seat = next(
        p["participant_id"] for p in deputy.get(f"/meetings/{house.id}/participants").data if p["role"] == HOST
    )
    someone = f"/meetings/{house.id}/participants/{house.bystander}"
    cases = [
        (deputy.patch(someone, {"role": "co-host"}), "participants.change_role"),
        (
            deputy.patch(f"/meetings/{house.id}/participants/{host_seat}", {"is_muted": True}),
            "participants.moderate_host",
        ),
        (ann.get(f"/meetings/{house.id}/events?stream=hosts"), "events.read_hosts"),
        (ann.delete(f"/meetings/{house.id}/chat/{house.messages['host']}"), "chat.delete_any"),
        (
            ann.post(f"/meetings/{house.id}/security/validate-access", {"user_id": house.people["outsider"].id}),
            "entry.foresee_others",
        ),
        (ann.patch(f"/meetings/{house.id}/chat/{house.messages['host']}", {"content": "mine"}), "author"),
        (deputy.patch(someone, {"is_muted": False}), "themselves"),
        (deputy.post(f"/meetings/{house.id}/participants/{host_seat}/remove"), "participants.moderate_host"),
    ]
    for answer, rule in cases:
        details = check_failure(answer, 403, "INSUFFICIENT_PERMISSION").body["details"]
        assert (details["rule"], bool(details["remedy"])) == (rule, True)


def test_every_body_is_for_an_operation_that_exists():
    assert BODIES.keys() <= {(door.method, door.path.removeprefix("/api/v1")) for door in DOORS}
