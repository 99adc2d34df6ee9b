"""People who write at the same time share transactions, with their Idempotency-Keys, and nobody is held up by a meeting
that is (ADR 0012)."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.core import idempotency, ledger
from shared.core.database import LOCK_TIMEOUT_SECONDS
from shared.core.errors import ServiceUnavailable
from shared.core.idempotency import KEEP, idempotency_keys
from shared.core.streams import meeting_stream
from tests.factories.scene import change_place
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success
from tests.integration.http.crowds import LONG, Crowd, commits, gathering, held, sharing, waiting
from web.http.together import SLOW_SECONDS, Waiting


class Room:
    """A meeting with people inside, who write."""

    def __init__(self, world: World, people: int) -> None:
        self._world = world
        self.people = [world.person() for _ in range(people)]
        self.id = world.meeting(self.people[0])
        self.places = [one["participant_id"] for one in world.inside(self.id, *self.people)]
        self.say(0, "first")()  # which makes what is looked at next

    @property
    def path(self) -> str:
        """Return where messages are sent to."""
        return f"/meetings/{self.id}/chat"

    def say(self, who: int, content: str, key: str | None = None, **more: Any) -> Callable[[], Answer]:
        """Return what sends a message, on a connection of its own."""
        person = self.people[who]
        headers = {} if key is None else {"Idempotency-Key": key}
        other = Person(self._world.app.test_client(), person.token, person.actor)
        return lambda: other.post(self.path, {"content": content, **more}, headers=headers)

    def said(self) -> list[str]:
        """Return what the host reads."""
        return [message["content"] for message in self.people[0].get(self.path).data][1:]


def together(world: World, *calls: Callable[[], Answer]) -> list[Answer]:
    """Send requests, the first of which is held back until all others wait; return the answers."""
    crowd = Crowd()
    with gathering(world, "chat") as wait:
        for number, call in enumerate(calls, 1):
            crowd.send(call)
            wait(number)
    return crowd.answers()


def is_replayed(answers: Sequence[Answer]) -> list[bool]:
    return ["Idempotency-Replayed" in answer.headers for answer in answers]


@pytest.mark.parametrize("keyed", [False, True])
def test_many_who_write_take_few_commits_and_stand_in_their_order(world: World, keyed: bool) -> None:
    room = Room(world, 6)
    texts = [f"{n}" for n in range(12)]
    calls = [room.say(n % 6, text, f"key {text}" if keyed else None) for n, text in enumerate(texts)]
    with commits(world) as seen:
        answers = together(world, *calls)
        assert seen[0] == 2  # of the first, and of all who came meanwhile
    for n, answer in enumerate(answers):
        assert check_success(answer, 201)["sender_id"] == room.places[n % 6]
    assert [answer.data["content"] for answer in answers] == texts == room.said()
    first = answers[0].data["seq"]
    assert [answer.data["seq"] for answer in answers] == list(range(first, first + 12))
    assert is_replayed(answers) == [False] * 12


def test_what_is_kept_is_what_was_sent(world: World) -> None:
    room = Room(world, 3)
    sent = together(world, *(room.say(n, f"{n}", "once", message_type="text") for n in range(3)))
    again = [room.say(n, f"{n}", "once", message_type="text")() for n in range(3)]
    assert [(a.status, a.body) for a in again] == [(a.status, a.body) for a in sent]
    assert is_replayed(again) == [True] * 3
    with world.runtime.reading() as tx:
        request = idempotency.Request(room.people[1].id, f"/api/v1{room.path}", "once", b"")
        kept = tx.first(select(idempotency_keys).where(idempotency_keys.c.digest == idempotency._digest(tx, request)))
        assert kept is not None
        assert '"content"' not in kept.answer
        body = tx.keyring.decrypt(kept.answer)
    raw = room.people[1]._client.post(
        f"/api/v1{room.path}",
        json={"content": "1", "message_type": "text"},
        headers={"Idempotency-Key": "once", "Authorization": f"Bearer {room.people[1].token}"},
    )
    assert raw.get_data() == body
    assert room.said() == ["0", "1", "2"]


def test_p4_one_that_was_done_before_is_answered_as_before_and_the_others_are_written(world: World) -> None:
    room = Room(world, 4)
    before = room.say(1, "again", "same")()
    answers = together(
        world, room.say(0, "a", "1"), room.say(1, "again", "same"), room.say(2, "b", "2"), room.say(3, "c")
    )
    assert is_replayed(answers) == [False, True, False, False]
    assert (answers[1].status, answers[1].body) == (201, before.body)
    assert sorted(room.said()) == ["a", "again", "b", "c"]


def test_p4_another_body_under_a_key_is_refused_among_others(world: World) -> None:
    room = Room(world, 3)
    room.say(1, "one", "same")()
    answers = together(world, room.say(0, "a"), room.say(1, "another", "same"), room.say(2, "b", "2"))
    check_failure(answers[1], 422, "IDEMPOTENCY_KEY_REUSED")
    assert [answers[0].status, answers[2].status] == [201, 201]
    assert sorted(room.said()) == ["a", "b", "one"]


def test_p4_two_at_once_with_one_key_are_one_message(world: World) -> None:
    room = Room(world, 3)
    answers = together(
        world, room.say(0, "a"), room.say(1, "twice", "same"), room.say(2, "b", "2"), room.say(1, "twice", "same")
    )
    assert [answer.status for answer in answers] == [201] * 4
    assert answers[1].body == answers[3].body
    assert sorted(is_replayed(answers)) == [False, False, False, True]
    assert sorted(room.said()) == ["a", "b", "twice"]


def test_a_key_is_forgotten_after_a_day_among_others_too(world: World) -> None:
    room = Room(world, 3)
    room.say(1, "yesterday", "same")()
    with world.runtime.transaction() as tx:
        request = idempotency.Request(room.people[1].id, f"/api/v1{room.path}", "same", b"")
        mine = idempotency_keys.c.digest == idempotency._digest(tx, request)
        old = tx.now - KEEP - timedelta(seconds=1)
        assert tx.execute(update(idempotency_keys).where(mine).values(created_at=old)).rowcount == 1
    answers = together(world, room.say(0, "a"), room.say(1, "today", "same"), room.say(2, "b", "2"))
    assert [answer.status for answer in answers] == [201] * 3
    assert is_replayed(answers) == [False] * 3
    assert sorted(room.said()) == ["a", "b", "today", "yesterday"]


def test_who_was_refused_may_repair_it_and_send_it_again(world: World) -> None:
    room = Room(world, 3)
    change_place(world.runtime, room.places[1], can_chat=False)
    answers = together(world, room.say(0, "a", "1"), room.say(1, "no", "2"), room.say(2, "b", "3"))
    check_failure(answers[1], 403, "CHAT_DISABLED")
    change_place(world.runtime, room.places[1], can_chat=True)
    check_success(room.say(1, "yes", "2")(), 201)
    assert room.said() == ["a", "b", "yes"]


def test_who_was_heard_before_a_right_was_taken_away_is_told_so_again(world: World) -> None:
    room = Room(world, 3)
    before = room.say(1, "heard", "same")()
    change_place(world.runtime, room.places[1], can_chat=False)
    answers = together(world, room.say(0, "a", "1"), room.say(1, "heard", "same"), room.say(1, "more", "new"))
    assert (answers[1].status, answers[1].body) == (201, before.body)
    check_failure(answers[2], 403, "CHAT_DISABLED")
    assert room.said() == ["heard", "a"]


@pytest.mark.parametrize("keyed", [False, True])
def test_each_of_those_who_come_together_gets_an_answer_of_their_own(world: World, keyed: bool) -> None:
    room = Room(world, 6)
    change_place(world.runtime, room.places[1], can_chat=False)
    room.people[2].post("/auth/logout")
    room.people[3].post(f"/meetings/{room.id}/leave")
    key = "key" if keyed else None
    answers = together(
        world,
        room.say(0, "a", key),
        room.say(1, "may not", key),
        room.say(2, "logged out", key),
        room.say(3, "gone", key),
        room.say(4, "private", key, recipient_id=room.places[5]),
        room.say(5, "no such", key, reply_to="01JQ0000000000000000000404"),
        room.say(5, "b", key and f"{key} 2"),
    )
    outcomes = [None, "CHAT_DISABLED", "TOKEN_REVOKED", "INSUFFICIENT_PERMISSION", None, "NOT_FOUND", None]
    assert [answer.body.get("code") for answer in answers] == outcomes
    for answer, outcome in zip(answers, outcomes, strict=True):
        if outcome is None:
            check_success(answer, 201)
        else:
            check_failure(answer, answer.status, outcome)
    assert [text for text in room.said() if text != "private"] == ["a", "b"]


@pytest.mark.postgres_only
def test_f16_a_meeting_that_is_held_up_holds_up_no_message_to_another_one(world: World) -> None:
    stuck, free = Room(world, 4), Room(world, 4)
    crowd = Crowd()
    with commits(world) as seen:
        with held(world, stuck.id):
            for n in range(4):
                crowd.send(stuck.say(n, f"{n}", "key"))
            waiting(world, 4, "chat")
            for n in range(4):
                check_success(free.say(n, f"{n}", "key")(), 201)
            before = seen[0]
        assert [answer.status for answer in crowd.answers()] == [201] * 4
        # Who holds it ends; the first who waits is alone, and the rest are one transaction.
        assert seen[0] - before <= 3
    assert sorted(stuck.said()) == free.said() == ["0", "1", "2", "3"]


@pytest.mark.postgres_only
def test_who_writes_where_others_wait_already_joins_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(world, 3)
    crowd = Crowd()
    with held(world, room.id):
        crowd.send(room.say(0, "0", "key"))
        waiting(world, 1, "chat")
        monkeypatch.setattr(sharing(world, "chat")._at_once, "_work", lambda _: 1 / 0)
        for n in (1, 2):
            crowd.send(room.say(n, f"{n}", "key"))
            waiting(world, n + 1, "chat")
    assert [answer.status for answer in crowd.answers()] == [201] * 3
    assert room.said() == ["0", "1", "2"]


@pytest.mark.postgres_only
def test_f16_who_writes_where_it_stays_held_is_told_so_after_one_wait(world: World) -> None:
    room = Room(world, 6)
    crowd = Crowd()
    with held(world, room.id):
        began = time.monotonic()
        for n in range(6):
            crowd.send(room.say(n, f"{n}", "key"))
        waiting(world, 6, "chat")
        for answer in crowd.answers():
            check_failure(answer, 503, "SERVICE_UNAVAILABLE")
        assert time.monotonic() - began < 2 * LOCK_TIMEOUT_SECONDS
    check_success(room.say(0, "0", "key")(), 201)
    assert room.said() == ["0"]


@pytest.mark.postgres_only
def test_f16_who_is_second_in_the_line_of_a_held_row_does_not_wait_twice(world: World) -> None:
    """PostgreSQL's limit counts anew when the first one gives up and the second one takes its place."""
    room = Room(world, 1)

    def be_first() -> None:
        with suppress(ServiceUnavailable), world.runtime.transaction() as tx:
            ledger.hold(tx.connection, [meeting_stream(room.id)])

    first = threading.Thread(target=be_first)
    with held(world, room.id):
        first.start()
        time.sleep(0.4)  # it stands in line
        began = time.monotonic()
        check_failure(room.say(0, "0")(), 503, "SERVICE_UNAVAILABLE")
        assert time.monotonic() - began < LOCK_TIMEOUT_SECONDS + 1
        first.join()


def test_a_batch_that_takes_long_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in it may wait for something after all, or the database be far away: others go beside it."""
    slow, quick = Room(world, 1), Room(world, 3)
    at_once = sharing(world, "chat")._at_once
    work, began, gate = at_once._work, threading.Event(), threading.Event()

    def hold(batch: Sequence[Waiting]) -> Any:
        if batch[0].path["meeting_id"] == slow.id:
            began.set()
            assert gate.wait(LONG)
        return work(batch)

    monkeypatch.setattr(at_once, "_work", hold)
    crowd = Crowd()
    crowd.send(slow.say(0, "slow"))
    assert began.wait(LONG)
    time.sleep(SLOW_SECONDS)
    for n in range(3):
        check_success(quick.say(n, f"{n}")(), 201)
    assert (slow.said(), quick.said()) == ([], ["0", "1", "2"])
    gate.set()
    assert [answer.status for answer in crowd.answers()] == [201]


@pytest.mark.postgres_only
def test_who_sends_a_key_that_is_in_work_elsewhere_holds_up_the_others_for_one_wait(world: World) -> None:
    room, other = Room(world, 3), Room(world, 2)
    body = b'{"content": "twice"}'
    request = idempotency.Request(room.people[1].id, f"/api/v1{room.path}", "same", body)
    crowd = Crowd()
    with world.runtime.transaction() as tx:
        assert idempotency.begin(tx, request) is None
        began = time.monotonic()
        with gathering(world, "chat") as wait:
            for number, call in enumerate(
                [room.say(0, "a", "1"), room.say(1, "twice", "same"), other.say(0, "b", "2"), other.say(1, "c")], 1
            ):
                crowd.send(call)
                wait(number)
        answers = crowd.answers()
        took = time.monotonic() - began
        tx.connection.get_transaction().rollback()  # type: ignore[union-attr]
    assert [answer.status for answer in answers] == [201, 409, 201, 201]
    check_failure(answers[1], 409, "IDEMPOTENCY_IN_PROGRESS")
    assert took < 3 * LOCK_TIMEOUT_SECONDS
    assert (room.said(), sorted(other.said())) == (["a"], ["b", "c"])
