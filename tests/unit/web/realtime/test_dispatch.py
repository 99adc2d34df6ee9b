"""From a text frame to the service and back: what is answered, and what is done once."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from shared.chat.queries import Page, history
from shared.core.database import TransactionConflict
from shared.core.errors import ServiceUnavailable
from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.participants.leaving import leave
from shared.participants.permissions import CHAT_SEND
from shared.participants.standing import Standing
from shared.runtime import Runtime
from shared.signals.events import Typing
from tests.factories.world import World
from web.http.refusals import Refusals
from web.http.schema import Int, Schema, Text
from web.realtime import committer, frame_types
from web.realtime import dispatch as dispatching
from web.realtime.committer import Committer
from web.realtime.dispatch import Outcome, dispatch
from web.realtime.frame_types import FRAME_TYPES, Sender, frame, signal
from web.realtime.standings import STANDING_SECONDS


class Note(Schema):
    """A frame of the tests."""

    text = Text(1, 10, required=True)
    size = Int()


@pytest.fixture
def sender(app: Flask, world: World) -> Iterator[Sender]:
    """Somebody inside a running meeting."""
    person = world.person()
    meeting_id = world.meeting(person)
    (seat,) = world.inside(meeting_id, person)
    assert person.actor is not None
    with app.app_context():
        yield Sender(meeting_id, seat["participant_id"], person.actor)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Register frames `note` (kept) and `wink` (not kept); yields what their handlers got, and raises what it holds."""
    known = FRAME_TYPES.copy()
    for module in (dispatching, frame_types):
        monkeypatch.setattr(module, "FRAME_TYPES", known)
    got: list[Any] = []

    def note(tx: Transaction, actor: Actor, meeting_id: str, **wanted: Any) -> Position:
        got.append(wanted)
        if isinstance(troubles := wanted["text"], str) and troubles in TROUBLES:
            raise TROUBLES[troubles]
        return Position(f"m:{meeting_id}", len(got))

    def wink(standing: Standing, **wanted: Any) -> Typing:
        got.append(wanted)
        return Typing(meeting_id=standing.me.meeting_id, participant=standing.me, is_typing=True)

    frame("note", Note(), permission=CHAT_SEND, limit="chat")(note)
    signal("wink", Note(), permission=CHAT_SEND, fits=lambda data: data == {"text": "at a glance"})(wink)
    return got


TROUBLES: dict[str, Exception] = {
    "bug": RuntimeError("a bug"),
    "conflict": TransactionConflict("40001"),
    "away": ServiceUnavailable(),
}


def answer(outcome: Outcome) -> Any:
    """Return the frame that goes back, as data."""
    return None if outcome.frame is None else json.loads(outcome.frame)


def done(runtime: Runtime, sender: Sender, raw: bytes) -> Outcome:
    """Return what becomes of a frame."""
    (outcome,) = dispatch(Committer(runtime, Refusals(runtime)), sender, [raw], 3)
    return outcome


def send(runtime: Runtime, sender: Sender, **message: Any) -> Any:
    """Dispatch a frame and return the answer."""
    return answer(done(runtime, sender, json.dumps(message).encode()))


def test_a_kept_frame_with_an_id_is_acknowledged_with_its_place(
    runtime: Runtime, sender: Sender, calls: list[Any]
) -> None:
    ack = send(runtime, sender, type="note", data={"text": "a"}, id="1")
    assert ack == {"type": "ack", "id": "1", "stream": "meeting", "seq": 1}
    assert send(runtime, sender, type="note", data={"text": "a"}) is None
    assert calls == [{"text": "a"}] * 2


def test_p4_the_same_id_again_has_no_second_effect(runtime: Runtime, sender: Sender) -> None:
    def chat(who: Sender, content: str) -> Any:
        return send(runtime, who, type="chat", data={"content": content}, id=5)

    def written() -> list[str | None]:
        with runtime.reading() as tx:
            return [m.content for m, _, _ in history(tx, sender.meeting_id, sender.actor, Page(limit=10))]

    first = chat(sender, "a")
    assert chat(sender, "a") == first
    assert chat(sender, "b")["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert written() == ["a"]
    other = Sender(sender.meeting_id, "somebody else", sender.actor)
    assert chat(other, "a")["seq"] == first["seq"] + 1
    assert written() == ["a", "a"]


def test_p4_an_answer_is_repeated_although_the_frame_would_be_refused_now(runtime: Runtime, sender: Sender) -> None:
    said: Any = {"type": "chat", "data": {"content": "a"}, "id": 6}
    first = send(runtime, sender, **said)
    with runtime.transaction() as tx:
        leave(tx, sender.meeting_id, sender.actor)
    assert send(runtime, sender, **said) == first
    assert send(runtime, sender, **{**said, "id": 7})["code"] == "INSUFFICIENT_PERMISSION"


def test_a_frame_that_is_not_kept_is_acknowledged_with_null_and_done_each_time(
    runtime: Runtime, sender: Sender, calls: list[Any]
) -> None:
    for text in ("a", "at a glance"):
        ack = send(runtime, sender, type="wink", data={"text": text}, id="w")
        assert ack == {"type": "ack", "id": "w", "stream": None, "seq": None}
    assert calls == [{"text": "a"}, {"text": "at a glance"}]


def test_p7_what_decides_about_a_signal_is_read_again_after_a_while(
    runtime: Runtime, sender: Sender, calls: list[Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wink() -> Any:
        return send(runtime, sender, type="wink", data={"text": "a"}, id="w")

    assert wink()["type"] == "ack"
    with runtime.transaction() as tx:
        leave(tx, sender.meeting_id, sender.actor)
    later = time.monotonic() + STANDING_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert wink()["code"] == "INSUFFICIENT_PERMISSION"
    assert len(calls) == 1


def test_a_kept_frame_that_says_nothing_of_its_place_is_acknowledged_with_null_also_again(
    runtime: Runtime, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = FRAME_TYPES.copy()
    for module in (dispatching, frame_types):
        monkeypatch.setattr(module, "FRAME_TYPES", known)
    frame("silent", Note(), permission=CHAT_SEND, limit="chat")(lambda tx, actor, meeting_id, **_: None)
    for _ in range(2):
        assert send(runtime, sender, type="silent", data={"text": "a"}, id="s")["seq"] is None


@pytest.mark.parametrize("with_data", [True, False])
def test_a_ping_asks_for_a_pong_and_an_ack_when_it_has_an_id(runtime: Runtime, sender: Sender, with_data: bool) -> None:
    message = {"type": "ping", **({"data": {}} if with_data else {})}
    outcome = done(runtime, sender, json.dumps(message).encode())
    assert (outcome.is_ping, outcome.frame) == (True, None)
    outcome = done(runtime, sender, json.dumps({**message, "id": "p"}).encode())
    assert (outcome.is_ping, answer(outcome)) == (True, {"type": "ack", "id": "p", "stream": None, "seq": None})


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b'{"type":"ping",}', b"\xff", b"[1,]", b'{"a":01}'])
def test_what_is_no_json_to_anybody_counts_as_malformed(runtime: Runtime, sender: Sender, raw: bytes) -> None:
    outcome = done(runtime, sender, raw)
    assert outcome.is_malformed
    assert (answer(outcome)["code"], answer(outcome)["id"]) == ("MALFORMED_JSON", None)


@pytest.mark.parametrize(
    ("raw", "frame_id"),
    [
        (b'{"type":"note","data":{"text":NaN},"id":"i"}', "i"),
        (b'{"type":"note","data":{"text":1e999},"id":7}', 7),
        (b'{"type":"note","data":{"text":"\\ud800"},"id":"i"}', "i"),
        (b'{"type":"note","data":{"text":"x"},"id":"\\ud800"}', None),
        (b'{"type":"note","type":"note","data":{"text":"x"},"id":"i"}', "i"),
        (b'{"type":"note","data":{"text":"a\\u0000"},"id":true}', None),
        (b'{"type":"note","data":{"text":9007199254740993}}', None),
        (b'{"type":"note","data":' + b"9" * 5000 + b"}", None),
        (b"[" * 50_000 + b"]" * 50_000, None),
        (b"[NaN]", None),
        (b"[]", None),
        (b'"text"', None),
    ],
)
def test_s79_s82_s84_what_only_we_refuse_is_an_error_with_its_id_and_does_not_count(
    runtime: Runtime, sender: Sender, calls: list[Any], raw: bytes, frame_id: Any
) -> None:
    outcome = done(runtime, sender, raw)
    assert not outcome.is_malformed
    assert (answer(outcome)["code"], answer(outcome)["id"]) == ("VALIDATION_ERROR", frame_id)
    assert calls == []


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ({"data": {}}, ["type"]),
        ({"type": 1, "data": {}}, ["type"]),
        ({"type": "kick", "data": {}}, ["type"]),
        ({"type": "note"}, ["data"]),
        ({"type": "note", "data": None}, ["data"]),
        ({"type": "note", "data": []}, ["data"]),
        ({"type": "note", "data": {}}, ["text"]),
        ({"type": "note", "data": {"text": "x" * 11}}, ["text"]),
        ({"type": "note", "data": {"text": "x", "size": 1.5}}, ["size"]),
        ({"type": "note", "data": {"text": "x", "__proto__": 1}}, ["__proto__"]),
        ({"type": "note", "data": {"text": "x"}, "user_id": "u", "seq": 1}, ["seq", "user_id"]),
        ({"type": "note", "data": {"text": "x"}, "id": ""}, ["id"]),
        ({"type": "note", "data": {"text": "x"}, "id": "x" * 65}, ["id"]),
        ({"type": "note", "data": {"text": "x"}, "id": None}, ["id"]),
        ({"type": "note", "data": {"text": "x"}, "id": False}, ["id"]),
        ({"type": "note", "data": {"text": "x"}, "id": [1]}, ["id"]),
        ({"type": "ping", "data": {"x": 1}}, ["data"]),
        ({}, ["data", "type"]),
    ],
)
def test_s80_s81_s85_a_frame_of_another_form_names_the_fields_that_are_wrong(
    runtime: Runtime, sender: Sender, calls: list[Any], message: dict[str, Any], fields: list[str]
) -> None:
    refused = send(runtime, sender, **message)
    assert (refused["type"], refused["code"], sorted(refused["details"])) == ("error", "VALIDATION_ERROR", fields)
    assert calls == []


@pytest.mark.parametrize(
    ("trouble", "code", "tries"),
    [
        ("bug", "INTERNAL_ERROR", 1),
        ("conflict", "SERVICE_UNAVAILABLE", committer.RETRIES + 1),
        ("away", "SERVICE_UNAVAILABLE", 1),
    ],
)
def test_a_failure_of_ours_is_an_error_that_tells_nothing_and_may_be_tried_again(
    runtime: Runtime, sender: Sender, calls: list[Any], trouble: str, code: str, tries: int
) -> None:
    refused = send(runtime, sender, type="note", data={"text": trouble}, id="t")
    assert (refused["type"], refused["id"], refused["code"], refused["details"]) == ("error", "t", code, {})
    assert "bug" not in refused["message"]
    assert len(calls) == tries
    assert send(runtime, sender, type="note", data={"text": "fine"}, id="t")["type"] == "ack"


def test_a_refusal_of_the_service_is_told_and_undone(runtime: Runtime, world: World, app: Flask) -> None:
    person = world.person()
    meeting_id = world.meeting(person)
    (seat,) = world.inside(meeting_id, person)
    person.post(f"/meetings/{meeting_id}/leave")
    assert person.actor is not None
    with app.app_context():
        gone = Sender(meeting_id, seat["participant_id"], person.actor)
        refused = send(runtime, gone, type="chat", data={"content": "x"}, id="c")
    assert (refused["code"], refused["id"]) == ("INSUFFICIENT_PERMISSION", "c")


def test_frames_that_came_together_are_answered_in_their_order(
    runtime: Runtime, sender: Sender, calls: list[Any]
) -> None:
    frames = [
        {"type": "note", "data": {"text": "a"}, "id": 1},
        {"type": "ping", "id": 2},
        {"type": "chat", "data": {"content": "b", "message_type": "text"}, "id": 3},
        {"type": "chat", "data": {}, "id": 4},
        {"type": "chat", "data": {"content": "c", "message_type": "text"}, "id": 5},
    ]
    outcomes = dispatch(Committer(runtime, Refusals(runtime)), sender, [json.dumps(one).encode() for one in frames], 3)
    told = [answer(one) for one in outcomes]
    assert [(one["type"], one["id"]) for one in told] == [
        ("ack", 1),
        ("ack", 2),
        ("ack", 3),
        ("error", 4),
        ("ack", 5),
    ]
    assert told[4]["seq"] == told[2]["seq"] + 1


def test_nobody_looks_at_what_comes_behind_one_malformed_frame_too_many(
    runtime: Runtime, sender: Sender, calls: list[Any]
) -> None:
    note = json.dumps({"type": "note", "data": {"text": "a"}}).encode()
    outcomes = dispatch(Committer(runtime, Refusals(runtime)), sender, [b"{", note, b"[", note], 2)
    assert [one.is_malformed for one in outcomes] == [True, False, True]
    assert len(calls) == 1
