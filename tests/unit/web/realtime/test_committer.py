"""Frames of one meeting that come together are committed together, and each is answered as if it had come alone."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from shared.chat.models import messages
from shared.core import ledger
from shared.core.errors import DomainError, NotFound, ServiceUnavailable
from shared.core.idempotency import Request
from shared.core.streams import meeting_stream
from shared.core.transaction import Position
from shared.participants.errors import NotInside
from shared.participants.models import participants
from shared.policies.errors import ChatDisabled
from shared.runtime import Runtime
from tests.factories.world import World
from tests.unit.web.realtime.wire import wait_for
from web.http.refusals import Refusals
from web.realtime import committer as module
from web.realtime.committer import Committer
from web.realtime.frame_types import FRAME_TYPES, Ask, Sender


class Room:
    """People in a meeting who write at the same time."""

    def __init__(self, runtime: Runtime, world: World, size: int, **policy: Any) -> None:
        people = [world.person() for _ in range(size)]
        self.runtime = runtime
        self.host = people[0]
        self.id = world.meeting(people[0], policy=policy)
        seats = world.inside(self.id, *people)
        self.senders = [
            Sender(self.id, seat["participant_id"], who.actor)
            for who, seat in zip(people, seats, strict=True)
            if who.actor is not None
        ]
        self.committer = Committer(runtime, Refusals(runtime))
        self.batches: list[list[str]] = []

    def ask(self, who: int, text: str, id_: str | None = None, **wanted: Any) -> Ask:
        """Return a chat frame; with `id_` it is done once."""
        sender = self.senders[who]
        once = None if id_ is None else Request(sender.participant_id, "ws", id_, text.encode())
        return Ask(FRAME_TYPES["chat"], sender, {"content": text, "message_type": "text", **wanted}, once)

    def together(self, monkeypatch: pytest.MonkeyPatch, *asks: Ask) -> list[Position | Exception | None]:
        """Commit asks while one more holds the way; return what came of each, in this order."""
        gate, began = threading.Event(), threading.Event()
        commit_all = self.committer._batcher._work
        outcomes: list[Any] = [None] * len(asks)

        def hold(batch: Sequence[Ask]) -> Any:
            self.batches.append([ask.wanted["content"] for ask in batch])
            began.set()
            assert gate.wait(5)
            return commit_all(batch)

        def commit(n: int) -> None:
            (outcomes[n],) = self.committer.commit([asks[n]])

        monkeypatch.setattr(self.committer._batcher, "_work", hold)
        first = threading.Thread(target=self.committer.commit, args=([self.ask(0, "first")],))
        first.start()
        assert began.wait(5)
        threads = []
        for n in range(len(asks)):
            threads.append(threading.Thread(target=commit, args=(n,)))
            threads[-1].start()
            if asks[n].may_join:
                wait_for(lambda n=n: len(self.committer._batcher._waiting[self.id]) > n)  # type: ignore[misc]
        gate.set()
        for thread in [first, *threads]:
            thread.join(10)
            assert not thread.is_alive()
        return outcomes

    def written(self) -> list[tuple[str, int]]:
        """Return the chat, in the order of the stream."""
        with self.runtime.reading() as tx:
            rows = tx.all(
                select(messages.c.content, messages.c.seq)
                .where(messages.c.meeting_id == self.id)
                .order_by(messages.c.seq)
            )
        return [(row.content, row.seq) for row in rows]

    def told(self) -> list[tuple[int, str]]:
        """Return the numbers and types of the meeting's stream."""
        with self.runtime.reading() as tx:
            return [(e.seq, e.type) for e in ledger.read(tx.connection, meeting_stream(self.id), 0, 100)]


@pytest.fixture
def room(app: Flask, runtime: Runtime, world: World) -> Iterator[Room]:
    """Four people in a meeting."""
    with app.app_context():
        yield Room(runtime, world, 4)


def test_what_comes_together_is_one_transaction_with_one_number_each(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(room.told())
    outcomes = room.together(monkeypatch, *(room.ask(n, f"m{n}", f"id{n}") for n in range(4)))
    assert room.batches == [["first"], ["m0", "m1", "m2", "m3"]]
    first = before + 1
    assert room.written() == [("first", first), *((f"m{n}", first + 1 + n) for n in range(4))]
    assert [at.seq for at in outcomes if isinstance(at, Position)] == [first + 1 + n for n in range(4)]
    assert room.told()[before:] == [(first + n, "chat") for n in range(5)]


def test_p4_one_that_was_done_before_is_acknowledged_as_before_and_the_others_are_written(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = room.ask(1, "again", "same")
    (at,) = room.committer.commit([again])
    outcomes = room.together(monkeypatch, room.ask(0, "a", "1"), again, room.ask(2, "b", "2"))
    assert outcomes[1] == at
    assert sorted(text for text, _ in room.written()) == ["a", "again", "b", "first"]
    assert [seq for seq, _ in room.told()] == list(range(1, len(room.told()) + 1))


def test_p4_the_same_id_twice_at_once_is_one_message(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    one = room.ask(1, "twice", "same")
    outcomes = room.together(monkeypatch, one, one, room.ask(2, "b", "2"))
    assert outcomes[0] == outcomes[1]
    assert sorted(text for text, _ in room.written()) == ["b", "first", "twice"]


def test_one_who_may_not_is_refused_and_leaves_no_hole(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    with room.runtime.transaction() as tx:
        gone = participants.c.id == room.senders[2].participant_id
        tx.execute(participants.update().where(gone).values(status="left"))
    outcomes = room.together(
        monkeypatch, room.ask(1, "a", "1"), room.ask(2, "no", "2"), room.ask(2, "no"), room.ask(3, "c")
    )
    assert [type(one) for one in outcomes] == [Position, NotInside, NotInside, Position]
    assert [text for text, _ in room.written()] == ["first", "a", "c"]
    assert [seq for seq, _ in room.told()] == list(range(1, len(room.told()) + 1))


def test_the_policy_holds_for_each(app: Flask, runtime: Runtime, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        room = Room(runtime, world, 3, chat_permissions="host")
        outcomes = room.together(monkeypatch, room.ask(1, "a"), room.ask(0, "host"), room.ask(2, "b"))
    assert [type(one) for one in outcomes] == [ChatDisabled, Position, ChatDisabled]
    assert [text for text, _ in room.written()] == ["first", "host"]


def test_a_meeting_that_ended_refuses_all_of_them(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = [room.ask(n, "late", f"{n}") for n in range(3)]
    assert room.host.post(f"/meetings/{room.id}/end").status == 200
    outcomes = room.together(monkeypatch, *asks)
    assert {getattr(one, "code", one) for one in outcomes} == {"MEETING_ENDED"}
    assert room.written() == []


def test_frames_that_one_read_has_brought_are_committed_in_their_order(room: Room) -> None:
    to = room.senders[1].participant_id
    asks = [room.ask(0, "a", "1"), room.ask(0, "b", "2"), room.ask(0, "psst", "3", recipient_id=to)]
    outcomes = room.committer.commit([*asks, room.ask(0, "c"), room.ask(0, "no", reply_to="0" * 26), asks[0]])
    kinds = [Position, Position, Position, Position, NotFound, Position]
    assert ([type(one) for one in outcomes], outcomes[5]) == (kinds, outcomes[0])
    assert [text for text, _ in room.written() if text != "psst"] == ["a", "b", "c"]


def test_private_messages_go_alone(room: Room) -> None:
    to = room.senders[1].participant_id
    assert not room.ask(0, "psst", recipient_id=to).may_join
    assert room.ask(0, "all", recipient_id=None).may_join


def test_a_fault_with_one_does_not_keep_the_others_from_being_written(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = room.together(
        monkeypatch, room.ask(0, "a", "1"), room.ask(1, "b", reply_to="0" * 26), room.ask(2, "c", "3")
    )
    assert isinstance(outcomes[1], DomainError)
    assert [text for text, _ in room.written()] == ["first", "a", "c"]
    monkeypatch.setattr(module, "keep_all", lambda *_: 1 / 0)
    outcomes = room.together(monkeypatch, room.ask(0, "d", "4"), room.ask(1, "e", "5"))
    assert [type(one) for one in outcomes] == [Position, Position]
    assert sorted(text for text, _ in room.written()) == ["a", "c", "d", "e", "first", "first"]


def test_a_database_that_is_away_is_told_to_all(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(module, "keep_all", away)
    outcomes = room.together(monkeypatch, room.ask(0, "a", "1"), room.ask(1, "b", "2"))
    assert [type(one) for one in outcomes] == [ServiceUnavailable] * 2
    assert [text for text, _ in room.written()] == ["first"]
