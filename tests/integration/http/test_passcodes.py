"""Trying passcodes (S34): ten wrong ones, and the client has to wait; nobody else does."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from shared.core.ids import new_id
from shared.participants.attempts import attempts, forget_expired
from tests.factories.scene import co_host
from tests.factories.world import Answer, Person, World
from tests.fakes.clock import FakeClock
from tests.integration.http.answers import check_failure
from web.app import create_app

RULES = {"require_password": True, "passcode": "open sesame"}
RIGHT, WRONG = {"passcode": "open sesame"}, {"passcode": "close sesame"}


@pytest.fixture
def meeting_id(world: World, host: Person) -> str:
    return world.meeting(host, policy={**RULES, "allow_anonymous_join": True})


def _from(address: str, **headers: str) -> dict[str, Any]:
    return {"environ_base": {"REMOTE_ADDR": address}, "headers": headers}


def join(person: Person, meeting_id: str, wish: dict[str, Any] = WRONG, **options: Any) -> Answer:
    name = {} if person.token else {"display_name": "Guest"}
    return person.post(f"/meetings/{meeting_id}/join", {**name, **wish}, **options)


def use_up(person: Person, meeting_id: str, **options: Any) -> None:
    for _ in range(10):
        check_failure(join(person, meeting_id, **options), 403, "PASSCODE_INVALID")


def active(host: Person, meeting_id: str) -> int:
    count: int = host.get(f"/meetings/{meeting_id}/status").data["active_participants"]
    return count


def test_s34_after_ten_wrong_passcodes_not_even_the_right_one_is_looked_at(
    world: World, host: Person, meeting_id: str
) -> None:
    person = world.person()
    use_up(person, meeting_id)
    for wish in (WRONG, RIGHT):
        answer = check_failure(join(person, meeting_id, wish), 429, "RATE_LIMIT_EXCEEDED")
        details = answer.body["details"]
        assert (set(details), details["limit"], details["window"]) == ({"limit", "window", "reset_at"}, 10, 900)
        wait = datetime.fromisoformat(details["reset_at"]) - world.runtime.now()
        assert timedelta(minutes=14) < wait <= timedelta(minutes=15)
        assert 0 <= int(answer.headers["Retry-After"]) - wait.total_seconds() < 2
    assert active(host, meeting_id) == 0
    assert join(world.person(), meeting_id, RIGHT).status == 200
    assert active(host, meeting_id) == 1


def test_s34_the_right_passcode_within_the_limit_still_enters_and_is_not_counted(
    world: World, host: Person, meeting_id: str
) -> None:
    address, person = _from("198.18.10.1"), world.person()
    for _ in range(9):
        check_failure(join(person, meeting_id), 403, "PASSCODE_INVALID")
    assert join(person, meeting_id, RIGHT).status == 200
    # A class behind one address: each with the right passcode.
    assert {join(world.nobody(), meeting_id, RIGHT, **address).status for _ in range(12)} == {200}
    assert active(host, meeting_id) == 13


def test_s34_fifty_at_once_are_not_looked_at_more_often(world: World, host: Person, meeting_id: str) -> None:
    token = world.person().token
    answers: list[Answer] = []

    def guess() -> None:
        one = Person(world.app.test_client(), token, None)
        answers.extend(join(one, meeting_id) for _ in range(10))

    threads = [threading.Thread(target=guess) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(str(answer.code) for answer in answers)
    assert codes == ["PASSCODE_INVALID"] * 10 + ["RATE_LIMIT_EXCEEDED"] * 40
    assert active(host, meeting_id) == 0


def test_s34_a_stranger_is_counted_by_address_whatever_the_headers_say(world: World, meeting_id: str) -> None:
    for i in range(10):
        join(world.nobody(), meeting_id, **_from("198.18.11.1", **{"X-Forwarded-For": f"203.0.113.{i}"}))
    blocked = join(world.nobody(), meeting_id, RIGHT, **_from("198.18.11.1", **{"X-Forwarded-For": "203.0.113.77"}))
    check_failure(blocked, 429, "RATE_LIMIT_EXCEEDED")
    assert join(world.nobody(), meeting_id, RIGHT, **_from("198.18.11.2")).status == 200


def test_s34_an_address_is_counted_too_whoever_sends_from_it(make_world: Callable[..., World]) -> None:
    alone = make_world(ratelimit_passcode="2/minute", ratelimit_passcode_address="5/minute")
    meeting_id, address = alone.meeting(alone.person(), policy=RULES), _from("198.18.14.1")
    people = [alone.person() for _ in range(4)]
    codes = [join(person, meeting_id, **address).code for person in people for _ in range(2)]
    assert codes == ["PASSCODE_INVALID"] * 5 + ["RATE_LIMIT_EXCEEDED"] * 3
    check_failure(join(alone.person(), meeting_id, RIGHT, **address), 429, "RATE_LIMIT_EXCEEDED")
    assert join(people[3], meeting_id, RIGHT, **_from("198.18.14.2")).status == 200


def test_s34_strangers_behind_an_address_lock_out_nobody_who_was_invited(
    make_world: Callable[..., World],
) -> None:
    alone = make_world(ratelimit_passcode_address="3/minute")
    member, address = alone.person(), _from("198.18.16.1")
    meeting_id = alone.meeting(alone.person(), policy=RULES, invitees=[member.email])
    codes = [join(alone.person(), meeting_id, **address).code for _ in range(4)]
    assert codes == ["PASSCODE_INVALID"] * 3 + ["RATE_LIMIT_EXCEEDED"]
    check_failure(join(member, meeting_id, **address), 403, "PASSCODE_INVALID")
    assert join(member, meeting_id, RIGHT, **address).status == 200


def test_s34_guest_tokens_of_another_meeting_are_no_new_clients(world: World, host: Person, meeting_id: str) -> None:
    open_, address = world.meeting(host, policy={"allow_anonymous_join": True}), _from("198.18.15.1")
    for _ in range(12):
        guest = world.guest(join(world.nobody(), open_, {}, **address).data["guest_token"])
        for wish in (WRONG, RIGHT):
            check_failure(guest.post(f"/meetings/{meeting_id}/join", wish, **address), 404, "MEETING_NOT_FOUND")
    assert active(host, meeting_id) == 0
    assert join(world.nobody(), meeting_id, RIGHT, **address).status == 200


def test_s34_of_ipv6_a_whole_network_is_one_client(world: World, meeting_id: str) -> None:
    for i in range(10):
        join(world.nobody(), meeting_id, **_from(f"2001:db8:1:1:{i}::1"))
    assert join(world.nobody(), meeting_id, RIGHT, **_from("2001:db8:1:1::99")).status == 429
    assert join(world.nobody(), meeting_id, RIGHT, **_from("2001:db8:1:2::99")).status == 200


def test_s34_another_meeting_is_another_count(world: World, host: Person, meeting_id: str) -> None:
    person, other = world.person(), world.meeting(host, policy=RULES)
    use_up(person, meeting_id)
    assert join(person, other).code == "PASSCODE_INVALID"
    assert join(person, other, RIGHT).status == 200


def test_s34_only_passcodes_that_are_looked_at_count(world: World, host: Person, meeting_id: str) -> None:
    person, open_ = world.person(), world.meeting(host)
    for _ in range(12):
        assert join(person, meeting_id, {}).code == "PASSCODE_REQUIRED"
        assert person.post(f"/meetings/{meeting_id}/join", {"passcode": ""}).status == 422
        assert join(person, open_).status == 200
    assert join(person, meeting_id, RIGHT).status == 200


def test_s34_who_is_inside_or_hosts_is_never_locked_out(world: World, host: Person, meeting_id: str) -> None:
    address = _from("198.18.12.1")
    member, deputy = world.person(), co_host(world, meeting_id)
    guest = world.guest(join(world.nobody(), meeting_id, RIGHT, **address).data["guest_token"])
    assert join(member, meeting_id, RIGHT, **address).status == 200
    for _ in range(12):
        last = join(world.nobody(), meeting_id, **address)
    assert last.status == 429
    for person in (member, guest, deputy, host):
        assert join(person, meeting_id, **address).status == 200
        assert person.post(f"/meetings/{meeting_id}/ws-ticket", **address).status == 201
    guest.post(f"/meetings/{meeting_id}/leave")
    assert join(guest, meeting_id, RIGHT, **address).status == 200


def test_s34_a_forecast_looks_at_no_passcode(world: World, host: Person, meeting_id: str) -> None:
    person = world.person()
    seen = host.post(f"/meetings/{meeting_id}/security/validate-access", {"user_id": person.id, **RIGHT})
    check_failure(seen, 422, "VALIDATION_ERROR")
    for _ in range(12):
        host.post(f"/meetings/{meeting_id}/security/validate-access", {"user_id": person.id})
    assert join(person, meeting_id, RIGHT).status == 200


def test_s34_a_retry_with_its_key_is_one_try(world: World, meeting_id: str) -> None:
    person, headers = world.person(), {"Idempotency-Key": new_id()}
    answers = [join(person, meeting_id, headers=headers) for _ in range(12)]
    assert {answer.code for answer in answers} == {"PASSCODE_INVALID"}
    assert answers[-1].headers["Idempotency-Replayed"] == "true"
    assert join(person, meeting_id, RIGHT).status == 200


def test_s34_after_fifteen_minutes_a_client_may_try_again(world: World, host: Person, meeting_id: str) -> None:
    clock = FakeClock()
    later = World(create_app(replace(world.runtime, clock=clock)), world.runtime)
    person = later.person()
    use_up(person, meeting_id)
    clock.pass_(minutes=14, seconds=59)
    assert join(person, meeting_id, RIGHT).status == 429
    clock.pass_(seconds=1)
    assert join(person, meeting_id).code == "PASSCODE_INVALID"
    assert join(person, meeting_id, RIGHT).status == 200


@pytest.mark.parametrize("is_on", [True, False])
def test_s118_the_count_needs_no_redis_and_no_other_limit(make_world: Callable[..., World], is_on: bool) -> None:
    alone = make_world(ratelimit_enabled=is_on, ratelimit_passcode="2/minute", redis_url="redis://127.0.0.1:1/0")
    person, meeting_id = alone.person(), alone.meeting(alone.person(), policy=RULES)
    assert [join(person, meeting_id).status for _ in range(4)] == [403, 403, 429, 429]
    assert join(alone.person(), meeting_id, RIGHT).status == 200


def test_counts_name_no_address_and_are_forgotten(world: World, meeting_id: str) -> None:
    join(world.nobody(), meeting_id, **_from("198.18.13.1"))
    mine = select(attempts).where(attempts.c.meeting_id == meeting_id)
    with world.runtime.reading() as tx:
        rows = tx.all(mine)
    assert [(row.failures, "198.18" in row.client) for row in rows] == [(1, False)] * 2  # as a client, as an address
    clock = FakeClock()
    clock.pass_(minutes=15)
    with replace(world.runtime, clock=clock).transaction() as tx:
        assert forget_expired(tx) > 0
    with world.runtime.reading() as tx:
        assert tx.all(mine) == []
