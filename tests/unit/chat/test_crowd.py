"""People who write at the same time get what each would get alone, with fewer statements (docs/adr/0012)."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.chat import crowd
from shared.chat import service as chat
from shared.chat.crowd import Asking, Outcome
from shared.chat.service import MessageWish, Told
from shared.core import ledger
from shared.core.batching import Held, NotTogether
from shared.core.errors import DomainError, NotFound
from shared.core.ids import new_id
from shared.core.streams import meeting_stream
from shared.identity.actor import Actor
from shared.meetings.queries import lock_meeting
from shared.participants.models import CO_HOST
from shared.participants.service import add_place
from shared.policies.errors import ChatDisabled
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene, change_place
from tests.factories.statements import statements_of
from tests.unit.chat.test_chat import Room
from tests.unit.participants.test_crowd import held

FILE = {"message_type": "file", "file": {"name": "plan.pdf", "url": "https://files.example.com/plan.pdf"}}


def ask(meeting_id: str, actor: Actor, content: str = "hello", **wish: Any) -> Asking:
    return Asking(meeting_id, actor, MessageWish(content=content, **wish))


def post_all(scene: Scene, *asking: Asking, waits: bool = False) -> list[Outcome]:
    """Let several write together."""
    with scene.runtime.transaction() as tx:
        return crowd.post_in_several(tx, asking, waits=waits)


def alone(scene: Scene, one: Asking) -> Told | DomainError:
    try:
        with scene.runtime.transaction() as tx:
            return chat.post(tx, one.meeting_id, one.actor, one.wish)
    except DomainError as refused:
        return refused


def kinds(outcomes: list[Outcome]) -> list[type]:
    return [type(one) for one in outcomes]


# What comes before somebody (Ada, who is inside) writes; returns what is asked for.
Situation = Callable[[Room], Asking]


def by_ada(**wish: Any) -> Situation:
    return lambda room: ask(room.id, room.ada, **wish)


def ada_is(**values: Any) -> Situation:
    def prepare(room: Room) -> Asking:
        change_place(room.runtime, room.ada_id, **values)
        return ask(room.id, room.ada)

    return prepare


def has_left(room: Room) -> Asking:
    room.leave(room.id, room.ada)
    return ask(room.id, room.ada)


def is_over(room: Room) -> Asking:
    room.end(room.id)
    return ask(room.id, room.ada)


def replies_to(what: str, who: str = "ada") -> Situation:
    def prepare(room: Room) -> Asking:
        said = {
            "a message": lambda: room.say(room.bob),
            "a whisper to them": lambda: room.say(room.bob, recipient_id=room.ada_id),
            "their own whisper": lambda: room.say(room.ada, recipient_id=room.bob_id),
            "a whisper between others": lambda: room.say(room.bob, recipient_id=room.host_id),
        }[what]()
        return ask(room.id, getattr(room, who), reply_to=said.message.id)

    return prepare


def replies_elsewhere(room: Room) -> Asking:
    other = room.meeting(room.host)
    room.join(other, room.host)
    with room.runtime.transaction() as tx:
        said = chat.post(tx, other, room.host, MessageWish(content="elsewhere"))
    return ask(room.id, room.host, reply_to=said.message.id)


def came_late(role: str | None) -> Situation:
    """Return somebody who replies to what was said before they came, as attendee or as co-host."""

    def prepare(room: Room) -> Asking:
        said, late = room.say(room.bob), room.user("Late")
        if role is not None:
            with room.runtime.transaction() as tx:
                add_place(tx, room.id, late.user_id, late.name, role)
        room.join(room.id, late)
        return ask(room.id, late, reply_to=said.message.id)

    return prepare


def is_not_inside(invited: bool) -> Situation:
    def prepare(room: Room) -> Asking:
        somebody = room.user("Somebody")
        if invited:
            with room.runtime.transaction() as tx:
                add_place(tx, room.id, somebody.user_id, somebody.name, "attendee")
        return ask(room.id, somebody)

    return prepare


SITUATIONS: dict[str, tuple[Situation, dict[str, Any]]] = {
    "writes": (by_ada(), {}),
    "is the host": (lambda room: ask(room.id, room.host), {}),
    "sends a link": (by_ada(content="https://example.com", message_type="link"), {}),
    "sends a file": (by_ada(**FILE), {}),
    "sends a file where none is taken": (by_ada(**FILE), {"enable_file_sharing": False}),
    "sends a file where chat is off": (by_ada(**FILE), {"enable_file_sharing": False, "chat_permissions": "none"}),
    "writes where hosts do": (by_ada(), {"chat_permissions": "host"}),
    "is the host where hosts do": (lambda room: ask(room.id, room.host), {"chat_permissions": "host"}),
    "is the host where nobody does": (lambda room: ask(room.id, room.host), {"chat_permissions": "none"}),
    "may not": (ada_is(can_chat=False), {}),
    "was removed": (ada_is(status="removed"), {}),
    "was denied": (ada_is(status="denied"), {}),
    "waits": (ada_is(status="waiting"), {}),
    "has left": (has_left, {}),
    "is invited": (is_not_inside(invited=True), {}),
    "comes too late": (is_over, {}),
    "replies": (replies_to("a message"), {}),
    "replies to a whisper": (replies_to("a whisper to them"), {}),
    "replies to their own whisper": (replies_to("their own whisper"), {}),
    "replies to a whisper between others": (replies_to("a whisper between others"), {}),
    "is the host and replies to a whisper between others": (replies_to("their own whisper", who="host"), {}),
    "replies to what was before them": (came_late(None), {}),
    "is a co-host and replies to what was before them": (came_late(CO_HOST), {}),
    "replies to what was elsewhere": (replies_elsewhere, {}),
    "replies to nothing": (by_ada(reply_to=UNKNOWN), {}),
    "replies to what is no id": (by_ada(reply_to="no id"), {}),
}

# Whose stream is not to be had; they are looked at in turn.
APART: dict[str, Situation] = {
    "is a stranger": is_not_inside(invited=False),
    "names no meeting": lambda room: ask(UNKNOWN, room.ada),
    "names what is no id": lambda room: ask("no id", room.ada),
    "comes too early": lambda room: ask(room.meeting(room.host, start=False), room.host),
}


def seen(room: Room, one: Asking, outcome: Outcome) -> Any:
    """Return everything that can be seen of an outcome, but for ids and names, which are new each time."""
    told = [{**event, "message_id": ""} for event in room.heard(meeting_stream(room.id))]
    for event in told:
        del event["sender_id"], event["reply_to"]
    if not isinstance(outcome, Told):
        assert isinstance(outcome, DomainError)
        return type(outcome), outcome.text, outcome.details, told
    assert outcome.message.reply_to == one.wish.reply_to
    assert [said for said, seq, _ in room.read(one.actor) if seq == outcome.position.seq][-1] == one.wish.content
    row = {name: getattr(outcome.message, name) for name in outcome.message.__slots__}
    for name in ("id", "meeting_id", "sender_id", "reply_to"):
        del row[name]
    return row, outcome.position.name, outcome.position.seq, told


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_somebody_gets_with_others_what_they_would_get_alone(timed: Runtime, situation: str, waits: bool) -> None:
    prepare, policy = SITUATIONS[situation]
    outcomes = []
    for with_others in (False, True):
        room, elsewhere = Room(timed, **policy), Room(timed)
        one = prepare(room)
        if with_others:
            others = ask(elsewhere.id, elsewhere.bob, "before"), ask(elsewhere.id, elsewhere.ada, "after")
            first, outcome, last = post_all(elsewhere, others[0], one, others[1], waits=waits)
            assert kinds([first, last]) == [Told, Told]
            assert [said for said, _, _ in elsewhere.read(elsewhere.host)] == ["before", "after"]
        else:
            outcome = alone(room, one)
        outcomes.append(seen(room, one, outcome))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("situation", APART)
def test_who_is_not_known_there_is_refused_in_turn_as_alone(timed: Runtime, situation: str) -> None:
    room = Room(timed)
    one, other = APART[situation](room), ask(room.id, room.bob)
    assert kinds(post_all(room, one, other)) == [Held, Told]
    outcome, _ = post_all(room, one, other, waits=True)
    assert seen(room, one, outcome) == seen(room, one, alone(room, one))


def test_what_is_private_is_said_alone(timed: Runtime) -> None:
    room = Room(timed)
    outcomes = post_all(room, ask(room.id, room.ada, recipient_id=room.bob_id), ask(room.id, room.bob))
    assert kinds(outcomes) == [NotTogether, Told]


def test_messages_stand_in_the_order_in_which_they_came(timed: Runtime) -> None:
    rooms = Room(timed), Room(timed)
    asking = [ask(room.id, room.ada if n % 3 else room.bob, f"{n}") for n in range(6) for room in rooms]
    seqs = [one.position.seq for one in post_all(rooms[0], *asking) if isinstance(one, Told)]
    assert seqs == [5 + n for n in range(6) for _ in rooms]  # behind the start and three joins
    for room in rooms:
        assert [said for said, _, _ in room.read(room.ada)] == [f"{n}" for n in range(6)]


def test_a_right_that_was_taken_away_is_gone_at_once(timed: Runtime) -> None:
    room = Room(timed)
    assert kinds(post_all(room, ask(room.id, room.ada), ask(room.id, room.bob))) == [Told, Told]
    change_place(room.runtime, room.ada_id, can_chat=False)
    for waits in (False, True):
        outcomes = post_all(room, ask(room.id, room.ada), ask(room.id, room.bob), waits=waits)
        assert kinds(outcomes) == [ChatDisabled, Told]


def test_who_meets_the_end_of_the_meeting_is_done_alone_and_leaves_nothing(
    timed: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end may be committed after somebody was looked at and before the stream was had."""
    over, runs = Room(timed), Room(timed)
    over.end(over.id)
    monkeypatch.setattr("shared.participants.membership.check_running", lambda _: None)
    monkeypatch.setattr("shared.participants.models.Participant.is_inside", True)
    with pytest.raises(NotTogether):
        post_all(over, ask(runs.id, runs.ada), ask(over.id, over.ada))
    assert over.read(over.host) == runs.read(runs.host) == []


@pytest.mark.postgres_only
@pytest.mark.timeout(20)
def test_nobody_waits_for_a_stream_that_somebody_holds(timed: Runtime) -> None:
    busy, free = Room(timed), Room(timed)
    locks: dict[str, Callable[[Any], Any]] = {
        "stream": lambda tx: ledger.hold(tx.connection, [meeting_stream(busy.id)]),
        "meeting": lambda tx: lock_meeting(tx, busy.id),  # as a join does, which lets others speak
    }
    found = {}
    for name, lock in locks.items():
        with held(busy, lock):
            found[name] = kinds(post_all(busy, ask(busy.id, busy.ada), ask(free.id, free.ada)))
    assert found == {"stream": [Held, Told], "meeting": [Told, Told]}


def test_thirty_write_with_no_more_statements_than_three(timed: Runtime) -> None:
    counts = []
    for people in (3, 30):
        rooms = [Room(timed) for _ in range(3)]
        said = [room.say(room.host).message.id for room in rooms]
        asking = [
            ask(rooms[n % 3].id, (rooms[n % 3].ada, rooms[n % 3].bob)[n % 2], reply_to=said[n % 3])
            for n in range(people)
        ]
        with statements_of(timed) as statements:
            outcomes = post_all(rooms[0], *asking)
        assert kinds(outcomes) == [Told] * people
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 6


def test_of_many_replies_only_those_to_what_is_not_theirs_are_refused(timed: Runtime) -> None:
    """All are looked up in one query, which also finds what one of them may read and another one may not."""
    room, other = Room(timed), Room(timed)
    public, whisper = room.say(room.bob).message.id, room.say(room.bob, recipient_id=room.ada_id).message.id
    outcomes = post_all(
        room,
        ask(room.id, room.ada, reply_to=whisper),
        ask(room.id, room.host, reply_to=whisper),
        ask(room.id, room.host, reply_to=public),
        ask(other.id, other.ada, reply_to=public),
        ask(other.id, other.ada, reply_to=new_id()),
    )
    assert kinds(outcomes) == [Told, NotFound, Told, NotFound, NotFound]
