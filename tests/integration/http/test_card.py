"""The join page's card: what a meeting shows to somebody who is not in it (S22, S33, S35)."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.scene import UNKNOWN
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success, without_what_differs

NOTHING = {"account": True, "passcode": False, "waiting_room": False, "domain": False}


def card(person: Person, meeting_id: str, **options: Any) -> Answer:
    return person.get(f"/meetings/{meeting_id}/card", **options)


def test_anybody_who_knows_the_id_sees_title_status_and_what_is_needed_and_nothing_else(
    world: World, host: Person
) -> None:
    meeting_id = world.meeting(host, start=False, title="Board", scheduled_start="2031-05-01T10:00:00Z")
    expected = {
        "meeting_id": meeting_id,
        "title": "Board",
        "status": "scheduled",
        "scheduled_start": "2031-05-01T10:00:00.000Z",
        "host_name": "Hedy Host",
        "needs": NOTHING,
    }
    for person in (world.nobody(), world.person(), host):
        assert check_success(card(person, meeting_id)) == expected


@pytest.mark.parametrize(
    ("policy", "needs"),
    [
        ({}, {}),
        ({"allow_anonymous_join": True}, {"account": False}),
        ({"require_password": True, "passcode": "open sesame"}, {"passcode": True}),
        ({"passcode": "open sesame"}, {}),
        ({"require_waiting_room": True}, {"waiting_room": True}),
        ({"join_approval_mode": "manual"}, {"waiting_room": True}),
        ({"allowed_domains": ["corp.example"]}, {"domain": True}),
        ({"allowed_domains": ["corp.example"], "join_approval_mode": "domain_restricted"}, {"waiting_room": True}),
    ],
)
def test_a_card_says_what_is_needed_and_not_which_domain_or_passcode(
    world: World, host: Person, policy: dict[str, Any], needs: dict[str, bool]
) -> None:
    answer = card(world.nobody(), world.meeting(host, policy=policy))
    assert answer.data["needs"] == {**NOTHING, **needs}
    assert not [secret for secret in ("corp.example", "sesame", host.email, host.id) if secret in str(answer.body)]


def test_a_card_shows_the_rules_as_they_are_now(world: World, host: Person) -> None:
    meeting_id = world.meeting(host)
    assert card(world.nobody(), meeting_id).data["needs"]["waiting_room"] is False
    host.patch(f"/meetings/{meeting_id}/security/policy", {"require_waiting_room": True})
    assert card(world.nobody(), meeting_id).data["needs"]["waiting_room"] is True


def test_that_a_meeting_is_over_or_cancelled_is_told_by_its_status_alone(world: World, host: Person) -> None:
    running, ended, cancelled = world.meeting(host), world.meeting(host), world.meeting(host, start=False)
    host.post(f"/meetings/{ended}/end")
    host.delete(f"/meetings/{cancelled}")
    seen = {meeting_id: check_success(card(world.nobody(), meeting_id)) for meeting_id in (running, ended, cancelled)}
    assert [one["status"] for one in seen.values()] == ["in_progress", "completed", "cancelled"]
    assert len({tuple(one) for one in seen.values()}) == 1


def test_who_is_inside_or_banned_does_not_show_on_the_card(world: World, host: Person) -> None:
    meeting_id, banned = world.meeting(host), world.person()
    before = card(world.nobody(), meeting_id).data
    _, seat = world.inside(meeting_id, host, banned)
    host.post(f"/meetings/{meeting_id}/participants/{seat['participant_id']}/remove", {"ban": True})
    assert card(world.nobody(), meeting_id).data == card(banned, meeting_id).data == before


@pytest.mark.parametrize("path", ["card", "join"])
@pytest.mark.parametrize("who", ["nobody", "person"])
def test_s35_what_never_existed_and_what_is_no_id_are_answered_alike(world: World, path: str, who: str) -> None:
    person: Person = getattr(world, who)()
    method, body = ("GET", None) if path == "card" else ("POST", {"passcode": "guess", "display_name": "Guest"})
    answers = [person.call(method, f"/meetings/{i}/{path}", body) for i in (UNKNOWN, new_id(), "x", UNKNOWN.lower())]
    for answer in answers:
        check_failure(answer, 404, "MEETING_NOT_FOUND")
    assert all(without_what_differs(answer) == without_what_differs(answers[0]) for answer in answers)


def test_s35_a_stranger_who_guesses_a_passcode_hears_the_same_for_every_wrong_one(world: World, host: Person) -> None:
    rules = {"require_password": True, "passcode": "open sesame"}
    open_, locked = (world.meeting(host, policy={**rules, "lock_meeting": lock}) for lock in (False, True))
    answers = [
        world.person().post(f"/meetings/{meeting_id}/join", {"passcode": wrong})
        for meeting_id in (open_, locked)
        for wrong in ("a", "open sesam", "OPEN SESAME", " open sesame", "x" * 64)
    ]
    for answer in answers:
        check_failure(answer, 403, "PASSCODE_INVALID")
    assert all(without_what_differs(answer) == without_what_differs(answers[0]) for answer in answers)
    # The positive control: the right one opens the one and shows the lock of the other.
    right = {"passcode": "open sesame"}
    assert world.person().post(f"/meetings/{open_}/join", right).status == 200
    assert world.person().post(f"/meetings/{locked}/join", right).code == "MEETING_LOCKED"


def test_s22_how_long_an_answer_takes_does_not_tell_whether_a_meeting_is_there(world: World, host: Person) -> None:
    there = world.meeting(host, policy={"require_password": True, "passcode": "open sesame"})
    stranger = world.nobody()

    def seconds(meeting_id: str) -> float:
        began = time.perf_counter()
        assert stranger.post(f"/meetings/{meeting_id}/join", {"passcode": "guess"}).status in (403, 404)
        return time.perf_counter() - began

    pairs = [(seconds(there), seconds(new_id())) for _ in range(60)]
    assert abs(statistics.median(a for a, _ in pairs) - statistics.median(b for _, b in pairs)) < 0.005


# --- guessing ids


@pytest.fixture
def limited(make_world: Callable[..., World]) -> World:
    return make_world(ratelimit_enabled=True, ratelimit_misses="4/minute", ratelimit_card="30/minute")


def _from(address: str, **headers: str) -> dict[str, Any]:
    return {"environ_base": {"REMOTE_ADDR": address}, "headers": headers}


def misses(person: Person, count: int, **options: Any) -> list[int]:
    """Ask for meetings that do not exist, by card and join in turn."""
    paths = [("GET", f"/meetings/{new_id()}/card"), ("POST", f"/meetings/{new_id()}/join")] * count
    return [person.call(method, path, **options).status for method, path in paths[:count]]


def test_s33_who_guesses_ids_is_told_to_stop_and_neighbours_still_get_in(limited: World) -> None:
    host, address = limited.person(), _from("198.18.0.1")
    meeting_id = limited.meeting(host, policy={"allow_anonymous_join": True})
    assert misses(limited.nobody(), 6, **address) == [404] * 4 + [429] * 2
    refused = check_failure(card(limited.nobody(), new_id(), **address), 429, "RATE_LIMIT_EXCEEDED")
    assert set(refused.body["details"]) == {"limit", "window", "reset_at"}
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert card(limited.nobody(), meeting_id, **address).status == 200
    assert limited.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Guest"}, **address).status == 200
    assert misses(limited.nobody(), 1, **_from("198.18.0.2")) == [404]


def test_s33_an_account_is_counted_wherever_it_comes_from(limited: World) -> None:
    person = limited.person()
    statuses = [misses(person, 1, **_from(f"198.18.1.{i}"))[0] for i in range(1, 7)]
    assert statuses == [404] * 4 + [429] * 2
    assert misses(limited.person(), 1, **_from("198.18.1.1")) == [404]


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_s33_an_address_cannot_be_chosen_by_a_header(limited: World, name: str) -> None:
    address = f"2001:db8:2:{len(name)}{ord(name[0]):x}::1"
    headers = [{name: f"203.0.113.{i}"} for i in range(6)]
    assert [misses(limited.nobody(), 1, **_from(address, **each))[0] for each in headers] == [404] * 4 + [429] * 2


def test_s33_of_ipv6_a_whole_network_is_one_client_and_ipv4_within_it_is_not(limited: World) -> None:
    same = [misses(limited.nobody(), 1, **_from(f"2001:db8:0:7:{i}::1"))[0] for i in range(6)]
    assert same == [404] * 4 + [429] * 2
    assert misses(limited.nobody(), 1, **_from("2001:db8:0:8::1")) == [404]
    mapped = [misses(limited.nobody(), 1, **_from(f"::ffff:198.18.3.{i}"))[0] for i in range(6)]
    assert mapped == [404] * 6


def test_cards_are_limited_per_address(make_world: Callable[..., World]) -> None:
    world = make_world(ratelimit_enabled=True, ratelimit_card="2/minute")
    meeting_id = world.meeting(world.person())
    address = _from("198.18.4.1")
    assert [card(world.nobody(), meeting_id, **address).status for _ in range(3)] == [200, 200, 429]
    assert card(world.nobody(), meeting_id, **_from("198.18.4.2")).status == 200
