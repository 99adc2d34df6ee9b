"""Operation by operation and asker by asker: what is answered is what the table of permissions says (S27, S32b)."""

from typing import Any

import pytest

from dev.permissions import ASKERS, outcome
from shared.participants.models import HOST
from tests.factories.house import BODIES, IN_HOUSE, OF_MEETINGS, furnish, name_of
from tests.factories.scene import UNKNOWN
from tests.factories.world import API, Answer, World
from tests.integration.http.answers import check_failure
from web.http.door import DOORS, Door


@pytest.mark.parametrize("door", OF_MEETINGS, ids=name_of)
def test_s27_s32b_everybody_gets_what_the_table_says_and_a_refusal_changes_nothing(world: World, door: Door):
    house = furnish(world)
    expected = {who: outcome(door.permission, door.who, who) for who in ASKERS}
    assert expected.keys() == house.people.keys()
    before, told = house.state(), house.trail()
    for who, wanted in expected.items():
        if wanted != "yes":
            _check_refusal(house.ask(door, who), door, wanted)
    assert house.state() == before
    refused = house.trail()[len(told) :]  # of whom the audit trail knows, and of nobody else
    assert [outcome for _, outcome in refused] == ["refused"] * sum(one in ("403", "404") for one in expected.values())
    assert len({person for person, _ in refused}) == len(refused)
    for who in reversed([who for who, wanted in expected.items() if wanted == "yes"]):
        answer = house.ask(door, who)
        assert answer.code not in ("INSUFFICIENT_PERMISSION", "MEETING_NOT_FOUND", "VALIDATION_ERROR"), (
            who,
            answer.body,
        )
        assert answer.status not in (401, 405, 415, 429, 500, 503), (who, answer.body)


@pytest.mark.parametrize("door", OF_MEETINGS, ids=name_of)
def test_s27_what_is_refused_for_its_form_changes_nothing(world: World, door: Door):
    house = furnish(world)
    before = house.state()
    path = door.path.removeprefix("/api/v1").replace("<meeting_id>", house.id).replace("<participant_id>", UNKNOWN)
    path = path.replace("<message_id>", house.messages["host"])
    good = BODIES.get((door.method, door.path.removeprefix("/api/v1")), {})
    wrong: list[dict[str, Any]] = [{"query_string": {"is_host": "true"}}]
    if door.method != "GET":
        wrong += [{"json": {**good, "is_host": True}}, {"json": {**good, "meeting_id": UNKNOWN}}]
        wrong += [{"data": b"{", "content_type": "application/json"}, {"data": b"{}", "content_type": "text/plain"}]
    for request in wrong:
        answer = house.people["host"].call(door.method, path, **request)
        assert (answer.status, answer.code) in (
            (422, "VALIDATION_ERROR"),
            (400, "MALFORMED_JSON"),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
        ), (request, answer.body)
    taken = world.app.url_map.bind("localhost").allowed_methods(f"/api/v1{path}")
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"}.difference(taken):
        check_failure(house.people["host"].call(method, path), 405, "METHOD_NOT_ALLOWED")
    assert house.state() == before


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
    path = path.replace("<message_id>", UNKNOWN).removeprefix(API)
    answer = world.nobody().call(door.method, path, None if door.method in ("GET", "DELETE") else {})
    if door.who == "anyone":
        check_failure(answer, 404, "MEETING_NOT_FOUND")
    else:
        check_failure(answer, 401, "UNAUTHENTICATED")


def test_a_guest_has_no_meetings_to_make_or_list(world: World):
    house = furnish(world)
    for door in IN_HOUSE:
        if "<meeting_id>" not in door.path and door.who == "user":
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
    assert BODIES.keys() <= {(door.method, door.path.removeprefix(API)) for door in DOORS}
