"""Rate limits (contract 1, S33, S62, S118, S121, S137)."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.core.errors import RateLimitExceeded
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import TIME, account, check_failure, check_success
from web.http.limits import count_message

_addresses = (f"198.51.{high}.{low}" for high, low in itertools.product(range(100), range(1, 255)))


@pytest.fixture
def limited(make_world: Callable[..., World]) -> World:
    """A world of small limits."""
    return make_world(
        ratelimit_enabled=True,
        ratelimit_meetings="3/minute",
        ratelimit_participants="4/minute",
        ratelimit_chat="2/minute",
        ratelimit_login="3/minute",
        ratelimit_register="2/minute",
        ratelimit_reads="1000/minute",
    )


@pytest.fixture
def address() -> dict[str, Any]:
    """An address that nobody has called from."""
    return _from(next(_addresses))


def _from(text: str) -> dict[str, Any]:
    return {"environ_base": {"REMOTE_ADDR": text}}


def numbers(answer: Answer) -> tuple[int, int]:
    return int(answer.headers["X-RateLimit-Limit"]), int(answer.headers["X-RateLimit-Remaining"])


def test_each_answer_says_how_much_is_left(limited: World):
    person = limited.person()
    answers = [person.post("/meetings", {"title": "A"}) for _ in range(3)]
    assert [numbers(a) for a in answers] == [(3, 2), (3, 1), (3, 0)]
    assert all(0 < int(a.headers["X-RateLimit-Reset"]) - time.time() <= 62 for a in answers)
    assert numbers(person.get("/meetings")) == (1000, 999)


def test_over_the_limit_is_429_with_its_details_and_no_effect(limited: World):
    person = limited.person()
    for _ in range(3):
        check_success(person.post("/meetings", {"title": "A"}), 201)
    answer = check_failure(person.post("/meetings", {"title": "A"}), 429, "RATE_LIMIT_EXCEEDED")
    details = answer.body["details"]
    assert set(details) == {"limit", "window", "reset_at"}
    assert (details["limit"], details["window"]) == (3, 60)
    assert TIME.fullmatch(details["reset_at"])
    wait = (datetime.fromisoformat(details["reset_at"]) - datetime.now(UTC)).total_seconds()
    assert 0 < wait <= 62
    assert abs(int(answer.headers["Retry-After"]) - wait) <= 2
    assert numbers(answer) == (3, 0)
    assert len(person.get("/meetings").data) == 3


def test_a_limit_is_per_person_and_shared_by_its_doors(limited: World):
    person, other = limited.person(), limited.person()
    meeting = limited.meeting(person)
    check_success(person.patch(f"/meetings/{meeting}", {"title": "B"}))
    check_failure(person.post(f"/meetings/{meeting}/end"), 429, "RATE_LIMIT_EXCEEDED")
    check_failure(person.delete(f"/meetings/{meeting}"), 429, "RATE_LIMIT_EXCEEDED")
    check_success(other.post("/meetings", {"title": "A"}), 201)
    check_success(person.post(f"/meetings/{meeting}/join"))


def test_two_sessions_of_a_person_are_one_person(limited: World, address: dict[str, Any]):
    wanted = account()
    first = limited.nobody().post("/auth/register", wanted, **address).data
    login = {"email": wanted["email"], "password": wanted["password"]}
    second = limited.nobody().post("/auth/login", login, **address).data
    people = [Person(limited.app.test_client(), each["access_token"], None) for each in (first, second)]
    answers = [people[i % 2].post("/meetings", {"title": "A"}).status for i in range(4)]
    assert answers == [201, 201, 201, 429]


def test_a_refused_request_counts_too(limited: World):
    person = limited.person()
    for _ in range(3):
        check_failure(person.post("/meetings", {}), 422, "VALIDATION_ERROR")
    check_failure(person.post("/meetings", {"title": "A"}), 429, "RATE_LIMIT_EXCEEDED")


def test_messages_over_both_doors_are_counted_together(limited: World):
    person = limited.person()
    meeting = limited.meeting(person)
    limited.inside(meeting, person)
    with limited.app.app_context():
        count_message("chat", person.id)
    check_success(person.post(f"/meetings/{meeting}/chat", {"content": "hi"}), 201)
    check_failure(person.post(f"/meetings/{meeting}/chat", {"content": "hi"}), 429, "RATE_LIMIT_EXCEEDED")
    with limited.app.app_context(), pytest.raises(RateLimitExceeded) as refused:
        count_message("chat", person.id)
    assert refused.value.details["limit"] == 2
    assert len(person.get(f"/meetings/{meeting}/chat").data) == 1


def test_s62_fifty_at_once_are_counted_exactly(limited: World):
    person = limited.person()
    statuses: list[int] = []

    def send() -> None:
        one = Person(limited.app.test_client(), person.token, None)
        statuses.extend(one.post("/meetings", {"title": "A"}).status for _ in range(5))

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] * 3 + [429] * 47


# --- logging in -----------------------------------------------------------------------------------------------------


def _login(world: World, email: str, password: str, options: dict[str, Any]) -> Answer:
    return world.nobody().post("/auth/login", {"email": email, "password": password}, **options)


def test_s33_passwords_cannot_be_tried_from_one_address(limited: World, address: dict[str, Any]):
    for i in range(3):
        assert _login(limited, f"somebody{i}@example.com", "wrong", address).status == 401
    check_failure(_login(limited, "another@example.com", "wrong", address), 429, "RATE_LIMIT_EXCEEDED")
    assert _login(limited, "another@example.com", "wrong", _from(next(_addresses))).status == 401


def test_s33_passwords_of_one_account_cannot_be_tried_from_many_addresses(limited: World, address: dict[str, Any]):
    wanted = account()
    limited.nobody().post("/auth/register", wanted, **address)
    email, password = wanted["email"], wanted["password"]
    for spelling in (email, email.upper(), email.title()):
        assert _login(limited, spelling, "wrong", _from(next(_addresses))).status == 401
    answer = _login(limited, email, password, _from(next(_addresses)))
    check_failure(answer, 429, "RATE_LIMIT_EXCEEDED")
    other = account()
    limited.nobody().post("/auth/register", other, **address)
    check_success(_login(limited, other["email"], other["password"], _from(next(_addresses))))


def test_accounts_are_not_made_without_end_from_one_address(limited: World, address: dict[str, Any]):
    register = [limited.nobody().post("/auth/register", account(), **address).status for _ in range(3)]
    assert register == [201, 201, 429]


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP"])
def test_s137_an_address_cannot_be_chosen_by_a_header(limited: World, address: dict[str, Any], name: str):
    for i in range(3):
        _login(limited, f"a{i}@example.com", "wrong", {**address, "headers": {name: f"203.0.113.{i}"}})
    answer = _login(limited, "b@example.com", "wrong", {**address, "headers": {name: "203.0.113.9"}})
    check_failure(answer, 429, "RATE_LIMIT_EXCEEDED")


def test_s137_behind_one_proxy_its_word_counts_and_what_the_client_said_before_does_not(
    make_world: Callable[..., World], address: dict[str, Any]
):
    proxied = make_world(ratelimit_enabled=True, ratelimit_login="2/minute", trusted_proxies=1)

    def login(forwarded: str, who: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        return _login(proxied, f"{who}@example.com", "wrong", {**address, "headers": headers}).status

    mine, theirs = next(_addresses), next(_addresses)
    assert [login(f"203.0.113.{i}, {mine}", f"p{i}") for i in range(3)] == [401, 401, 429]
    assert login(f"203.0.113.1, {theirs}", "p9") == 401


# --- switches and faults --------------------------------------------------------------------------------------------


def test_switched_off_nothing_is_counted(make_world: Callable[..., World]):
    person = make_world(ratelimit_enabled=False, ratelimit_meetings="3/minute").person()
    answers = [person.post("/meetings", {"title": "A"}) for _ in range(5)]
    assert {a.status for a in answers} == {201}
    assert not [name for name, _ in answers[-1].headers if name.startswith("X-RateLimit")]


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of something that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_s118_without_redis_the_process_counts_by_itself(
    make_world: Callable[..., World], silent: str, kind: str, address: dict[str, Any]
):
    url = silent if kind == "hangs" else "redis://127.0.0.1:1/0"
    alone = make_world(ratelimit_enabled=True, ratelimit_meetings="3/minute", ratelimit_login="3/minute", redis_url=url)
    person = alone.person()
    began = time.monotonic()
    statuses = [person.post("/meetings", {"title": "A"}).status for _ in range(5)]
    assert statuses == [201, 201, 201, 429, 429]
    assert time.monotonic() - began < 3
    email = account()["email"]
    logins = [_login(alone, email, "wrong", _from(next(_addresses))).status for _ in range(4)]
    assert logins == [401, 401, 401, 429]


def test_s121_a_person_makes_a_hundred_meetings_an_hour_and_no_more(make_world: Callable[..., World]):
    world = make_world(ratelimit_enabled=True)
    person, neighbour = world.person(), world.person()
    made = [person.post("/meetings", {"title": "A"}).status for _ in range(103)]
    assert made == [201] * 100 + [429] * 3
    check_success(neighbour.post("/meetings", {"title": "A"}), 201)
    listed = person.get("/meetings?limit=200")
    assert (len(listed.data), listed.body["pagination"]["next_cursor"]) == (100, None)


def test_the_default_limits_are_those_of_the_contract(make_world: Callable[..., World], address: dict[str, Any]):
    world = make_world(ratelimit_enabled=True)
    person = world.person()
    meeting = world.meeting(person)
    [seat] = world.inside(meeting, person)
    assert seat["status"] == "joined"
    found = {
        "meetings": person.post("/meetings", {"title": "A"}),
        "participants": person.post(f"/meetings/{meeting}/join"),
        "chat": person.post(f"/meetings/{meeting}/chat", {"content": "hi"}),
        "status": person.put(f"/meetings/{meeting}/participants/status", {"is_muted": True}),
        "login": _login(world, "a@example.com", "wrong", address),
    }
    limits = {name: numbers(answer)[0] for name, answer in found.items()}
    assert limits == {"meetings": 100, "participants": 1000, "chat": 60, "status": 120, "login": 10}
