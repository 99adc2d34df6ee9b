"""Invitations open one meeting for one address, as long as it is invited (S24, S44)."""

import pytest

from shared.core.ids import new_id
from tests.factories.world import Person, World
from tests.integration.http.answers import account, check_failure, check_success, without_what_differs
from web.http.door import DOORS


@pytest.fixture
def invited(world: World) -> Person:
    return world.person("Ina")


@pytest.fixture
def meeting(world: World, host: Person, invited: Person) -> str:
    return world.meeting(host, invitees=[invited.email])


def place_of(host: Person, meeting: str, person: Person) -> str:
    people = host.get(f"/meetings/{meeting}/participants?status=invited").data
    return next(str(p["participant_id"]) for p in people if p["user_id"] == person.id)


def test_s44_an_invitation_is_for_one_meeting_and_one_address(
    world: World, host: Person, meeting: str, invited: Person
):
    other = world.meeting(host)
    check_success(invited.get(f"/meetings/{meeting}"))
    assert [m["meeting_id"] for m in invited.get("/meetings").data] == [meeting]
    check_failure(invited.get(f"/meetings/{other}"), 404, "MEETING_NOT_FOUND")
    for address in (
        f"x{invited.email}",
        f"{invited.email}.evil.example",
        f"{invited.email.split('@')[0]}+1@example.com",
    ):
        somebody = world.person(email=address)
        check_failure(somebody.get(f"/meetings/{meeting}"), 404, "MEETING_NOT_FOUND")
        assert somebody.get("/meetings").data == []


def test_s44_an_invitation_that_was_taken_back_is_none(world: World, host: Person, meeting: str, invited: Person):
    place = place_of(host, meeting, invited)
    check_success(invited.get(f"/meetings/{meeting}"))
    check_success(host.post(f"/meetings/{meeting}/participants/{place}/remove", {"ban": True}))
    check_failure(invited.get(f"/meetings/{meeting}"), 404, "MEETING_NOT_FOUND")
    check_failure(invited.post(f"/meetings/{meeting}/join"), 403, "USER_BLOCKED")
    assert invited.get("/meetings").data == []


def test_s44_an_invitation_is_used_up_by_the_account_that_it_was_for(world: World, host: Person):
    wanted = account()
    meeting = world.meeting(host, invitees=[wanted["email"].upper()])
    token = check_success(world.nobody().post("/auth/register", wanted), 201)["access_token"]
    first = Person(world.app.test_client(), token, None)
    check_success(first.get(f"/meetings/{meeting}"))
    check_failure(world.nobody().post("/auth/register", wanted), 409, "EMAIL_TAKEN")
    invited = host.get(f"/meetings/{meeting}/participants?status=invited").data
    assert [p["user_name"] for p in invited if p["role"] == "attendee"] == [wanted["name"]]


@pytest.mark.parametrize("step", ["end", "cancel"])
def test_s44_an_invitation_ends_with_its_meeting(world: World, host: Person, invited: Person, step: str):
    meeting = world.meeting(host, start=step == "end", invitees=[invited.email])
    if step == "end":
        check_success(host.post(f"/meetings/{meeting}/end"))
        check_failure(invited.post(f"/meetings/{meeting}/join"), 410, "MEETING_ENDED")
    else:
        check_success(host.delete(f"/meetings/{meeting}"))
        check_failure(invited.post(f"/meetings/{meeting}/join"), 400, "INVALID_MEETING_STATE")


def test_s44_a_place_is_no_pass_that_somebody_else_could_use(world: World, host: Person, meeting: str, invited: Person):
    place, thief = place_of(host, meeting, invited), world.person()
    stranger = without_what_differs(thief.get(f"/meetings/{new_id()}"))
    assert without_what_differs(thief.get(f"/meetings/{meeting}", headers={"X-Participant-ID": place})) == stranger
    for wish in ({"participant_id": place}, {"invitation": place}, {"user_id": invited.id}, {"email": invited.email}):
        check_failure(thief.post(f"/meetings/{meeting}/join", wish), 422, "VALIDATION_ERROR")
    assert thief.post(f"/meetings/{meeting}/join").data["participant_id"] != place
    assert place_of(host, meeting, invited) == place


def test_s24_no_door_looks_people_up(world: World, host: Person, invited: Person):
    paths = {door.path.removeprefix("/api/v1") for door in DOORS}
    assert not [path for path in paths if path.startswith(("/users", "/people", "/contacts", "/search"))]
    for path in ("/users", f"/users/{invited.id}", f"/users?email={invited.email}", "/users/search?q=ina"):
        check_failure(host.get(path), 404, "NOT_FOUND")
    for path in (f"/auth/me?email={invited.email}", f"/meetings?user_id={invited.id}", "/meetings?q=ina"):
        check_failure(host.get(path), 422, "VALIDATION_ERROR")
    assert check_success(host.get("/auth/me"))["user_id"] == host.id
