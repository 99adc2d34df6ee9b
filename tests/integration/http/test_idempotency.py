"""The same request again has the same answer and no second effect (contract 1, P4)."""

import threading
from typing import Any

import pytest

from shared.core import idempotency
from shared.core.idempotency import StoredAnswer
from shared.core.ids import new_id
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import account, check_failure, check_success

WANTED = {"title": "A"}


def again(person: Person) -> Person:
    """The same person on another connection."""
    return Person(person._client.application.test_client(), person.token, person.actor, person.email)


def post(person: Person, key: str, body: Any = None, path: str = "/meetings") -> Answer:
    return again(person).post(path, WANTED if body is None else body, headers={"Idempotency-Key": key})


def count(person: Person) -> int:
    return len(person.get("/meetings").data)


@pytest.fixture
def key() -> str:
    return new_id()


def test_the_first_answer_is_replayed_and_says_so(host: Person, key: str):
    first, second = post(host, key), post(host, key)
    check_success(first, 201)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (second.status, second.body) == (201, first.body)
    assert count(host) == 1


def test_without_a_key_each_request_is_its_own(host: Person):
    assert [host.post("/meetings", WANTED).status for _ in range(2)] == [201, 201]
    assert count(host) == 2


def test_another_body_under_the_same_key_is_refused(host: Person, key: str):
    post(host, key)
    check_failure(post(host, key, {"title": "B"}), 422, "IDEMPOTENCY_KEY_REUSED")
    assert count(host) == 1


@pytest.mark.parametrize("other", ['{"title": "A"}', '{"title":"A","description":""}'])
def test_a_body_is_the_same_when_its_bytes_are(host: Person, key: str, other: str):
    post(host, key)
    answer = host.post("/meetings", data=other, content_type="application/json", headers={"Idempotency-Key": key})
    assert answer.code in (None, "IDEMPOTENCY_KEY_REUSED")
    assert count(host) == 1


def test_a_key_of_another_person_is_another_key(world: World, host: Person, key: str):
    other = world.person()
    first, second = post(host, key), post(other, key)
    assert first.data["meeting_id"] != second.data["meeting_id"]
    assert "Idempotency-Replayed" not in second.headers
    check_success(post(other, key_of(key)), 201)
    assert (count(host), count(other)) == (1, 2)


def key_of(key: str) -> str:
    return f"{key}-2"


def test_a_key_on_another_path_is_another_key(world: World, host: Person, key: str):
    meeting = world.meeting(host, start=False)
    check_success(post(host, key, {}, f"/meetings/{meeting}/start"))
    check_success(post(host, key, {}, f"/meetings/{meeting}/end"))


def test_a_refused_request_may_be_repaired_and_sent_again(host: Person, key: str):
    check_failure(post(host, key, {"title": ""}), 422, "VALIDATION_ERROR")
    check_success(post(host, key), 201)
    assert count(host) == 1


def test_a_replay_says_what_was_even_when_it_is_no_longer_so(world: World, host: Person, key: str):
    meeting = world.meeting(host, start=False)
    first = post(host, key, {}, f"/meetings/{meeting}/start")
    host.post(f"/meetings/{meeting}/end")
    second = post(host, key, {}, f"/meetings/{meeting}/start")
    assert (second.status, second.body) == (200, first.body)
    assert host.get(f"/meetings/{meeting}").data["status"] == "completed"


def test_s07_a_replay_is_for_those_whose_session_is_alive(world: World, host: Person, key: str):
    post(host, key)
    host.post("/auth/logout")
    check_failure(post(host, key), 401, "TOKEN_REVOKED")
    check_failure(post(world.nobody(), key), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("length", [1, 255])
def test_a_key_may_be_as_long_as_255_characters(host: Person, length: int):
    assert [post(host, "k" * length).status for _ in range(2)] == [201, 201]
    assert count(host) == 1


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_is_none_is_refused(host: Person, key: str):
    answer = check_failure(post(host, key), 422, "VALIDATION_ERROR")
    assert list(answer.body["details"]) == ["Idempotency-Key"]
    assert count(host) == 0


def test_a_registration_that_is_repeated_makes_one_account(world: World, key: str):
    wanted, nobody = account(), world.nobody()
    first, second = (post(nobody, key, wanted, "/auth/register") for _ in range(2))
    assert (first.status, second.status, first.body) == (201, 201, second.body)
    check_failure(post(nobody, key_of(key), wanted, "/auth/register"), 409, "EMAIL_TAKEN")


def test_strangers_at_two_addresses_do_not_read_each_others_answers(world: World, host: Person, key: str):
    meeting = world.meeting(host, policy={"allow_anonymous_join": True})

    def join(address: str) -> Answer:
        return world.nobody().post(
            f"/meetings/{meeting}/join",
            {"display_name": "Gus"},
            headers={"Idempotency-Key": key},
            environ_base={"REMOTE_ADDR": address},
        )

    first, same, other = join("192.0.2.1"), join("192.0.2.1"), join("192.0.2.2")
    assert first.data == same.data
    assert other.data["participant_id"] != first.data["participant_id"]
    assert other.data["guest_token"] != first.data["guest_token"]


# --- five times, one after the other and at once --------------------------------------------------------------------

UNSAFE = {
    "create": ("/meetings", WANTED),
    "start": ("/meetings/{scheduled}/start", {}),
    "end": ("/meetings/{running}/end", {}),
    "join": ("/meetings/{running}/join", {}),
    "leave": ("/meetings/{running}/leave", {}),
    "chat": ("/meetings/{running}/chat", {"content": "hi"}),
    "ticket": ("/meetings/{running}/ws-ticket", {}),
}


@pytest.mark.parametrize("at_once", [False, True], ids=["one after the other", "at once"])
@pytest.mark.parametrize(("path", "body"), UNSAFE.values(), ids=UNSAFE.keys())
def test_p4_five_times_is_once(world: World, host: Person, key: str, path: str, body: Any, at_once: bool):
    scheduled, running = world.meeting(host, start=False), world.meeting(host)
    if not path.endswith("/join"):
        world.inside(running, host)
    path = path.format(scheduled=scheduled, running=running)
    before = count(host)
    heads = {m: host.get(f"/meetings/{m}/status").data["cursors"]["meeting"] for m in (scheduled, running)}
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(post(host, key, body, path))) for _ in range(5)]
    for thread in threads:
        thread.start()
        if not at_once:
            thread.join()
    for thread in threads:
        thread.join()
    assert len(answers) == 5
    assert {a.status for a in answers} <= {200, 201}
    assert all(a.body == answers[0].body for a in answers)
    assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1
    after = {m: host.get(f"/meetings/{m}/status").data["cursors"]["meeting"] for m in (scheduled, running)}
    assert sum(after.values()) - sum(heads.values()) <= 1
    assert count(host) - before == (1 if path == "/meetings" else 0)


def test_s60_while_the_first_is_running_the_second_waits_or_is_told_so(world: World, host: Person, key: str):
    """PostgreSQL waits two seconds for the first; SQLite has one writer, whose end is waited for."""
    body = b'{"title": "A"}'
    wanted = idempotency.Request(caller=host.id, path="/api/v1/meetings", key=key, body=body)
    is_sqlite = world.runtime.database.is_sqlite
    answers: list[Answer] = []

    def send() -> None:
        headers = {"Idempotency-Key": key}
        answers.append(again(host).post("/meetings", data=body, content_type="application/json", headers=headers))

    second = threading.Thread(target=send)
    with world.runtime.transaction() as tx:
        assert idempotency.begin(tx, wanted) is None
        second.start()
        second.join(0.2 if is_sqlite else 5)
        idempotency.finish(tx, wanted, StoredAnswer(201, b'{"status": "success", "data": {}}'))
    second.join()
    [answer] = answers
    if is_sqlite:
        assert answer.headers["Idempotency-Replayed"] == "true"
    else:
        check_failure(answer, 409, "IDEMPOTENCY_IN_PROGRESS")
    assert count(host) == 0
    send()
    assert answers[-1].headers["Idempotency-Replayed"] == "true"
