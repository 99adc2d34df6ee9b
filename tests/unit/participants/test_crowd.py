"""Accounts that ask for entry at the same time get what each would get alone, with fewer statements (docs/adr/0012)."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import select

from shared.core import ledger
from shared.core.batching import Held, NotTogether
from shared.core.errors import DomainError
from shared.core.streams import meeting_stream
from shared.identity.actor import Actor
from shared.meetings.queries import lock_meeting
from shared.participants import crowd
from shared.participants.crowd import Asking, Outcome
from shared.participants.models import CO_HOST, JOINED, Participant, participants, stays
from shared.participants.service import Admission, JoinWish, add_place
from shared.policies import service as policies
from shared.policies.errors import MaxParticipantsReached
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene, change_place
from tests.factories.statements import statements_of
from tests.unit.participants.test_entering import open_stays, seats


@pytest.fixture
def scene(timed: Runtime) -> Scene:
    """People and meetings."""
    return Scene(timed)


def join_all(scene: Scene, *asking: Asking, waits: bool = False) -> list[Outcome]:
    """Let several ask together."""
    with scene.runtime.transaction() as tx:
        return crowd.join_all(tx, asking, waits=waits)


def ask(meeting_id: str, actor: Actor, **wish: Any) -> Asking:
    return Asking(meeting_id, actor, JoinWish(**wish))


def kinds(outcomes: list[Outcome]) -> list[type]:
    return [type(one) for one in outcomes]


def has_left(scene: Scene, meeting_id: str, actor: Actor) -> None:
    scene.join(meeting_id, actor, device_type="phone", join_muted=True)
    scene.leave(meeting_id, actor)


def is_invited(scene: Scene, meeting_id: str, actor: Actor) -> None:
    with scene.runtime.transaction() as tx:
        add_place(tx, meeting_id, actor.user_id, actor.name, "attendee")


def is_co_host(scene: Scene, meeting_id: str, actor: Actor) -> None:
    with scene.runtime.transaction() as tx:
        add_place(tx, meeting_id, actor.user_id, actor.name, CO_HOST)


def has(**values: Any) -> "Situation":
    """Return somebody who was inside, and of whose place something is different now."""

    def prepare(scene: Scene, meeting_id: str, actor: Actor) -> None:
        has_left(scene, meeting_id, actor)
        change_place(scene.runtime, scene.place(meeting_id, actor).id, **values)

    return prepare


def ruled(**rules: Any) -> "Situation":
    """Return somebody who is new where these rules hold."""

    def prepare(scene: Scene, meeting_id: str, _actor: Actor) -> None:
        host = scene.state(meeting_id).host_id
        with scene.runtime.transaction() as tx:
            policies.change_policy(tx, meeting_id, Actor(name="", user_id=host), rules, replace=False)

    return prepare


Situation = Callable[[Scene, str, Actor], Any]
SITUATIONS: dict[str, tuple[Situation, dict[str, Any]]] = {
    "is new": (lambda *_: None, {}),
    "is new and has wishes": (lambda *_: None, {"device_type": "tv", "join_muted": True, "join_without_video": True}),
    "has a name of their own": (lambda *_: None, {"display_name": "Somebody else"}),
    "is called as a host is": (lambda *_: None, {"display_name": "The H0st"}),
    "is invited": (is_invited, {}),
    "has left": (has_left, {}),
    "is inside": (lambda scene, meeting_id, actor: scene.join(meeting_id, actor), {}),
    "is a co-host": (is_co_host, {}),
    "may not publish": (has(can_publish=False), {}),
    "had a hand up": (has(is_hand_raised=True, is_screen_sharing=True), {}),
    "was removed": (has(status="removed"), {}),
    "was denied": (has(status="denied"), {}),
    "was banned": (has(status="removed", is_banned=True), {}),
    "is muted by a rule": (ruled(mute_on_entry=True, disable_camera=True), {}),
    "meets a lock": (ruled(lock_meeting=True), {}),
    "is of another domain": (ruled(allowed_domains=["elsewhere.example"]), {}),
    "gives no passcode": (ruled(passcode="1234567"), {}),
    "is a co-host behind a lock": (
        lambda *who: [step(*who) for step in (is_co_host, ruled(lock_meeting=True))],
        {},
    ),
    "comes too late": (lambda scene, meeting_id, _: scene.end(meeting_id), {}),
}


def seen(scene: Scene, meeting_id: str, actor: Actor, outcome: Outcome | Exception) -> Any:
    """Return everything that can be seen of an outcome, but for what is random."""
    told = [(entry.seq, entry.type) for entry in scene.events(meeting_stream(meeting_id))]
    if not isinstance(outcome, Admission):
        return type(outcome), getattr(outcome, "details", None), told
    stored = scene.place(meeting_id, actor)
    assert outcome.participant == stored
    assert open_stays(scene, stored.id) == 1
    values = {one.name: getattr(stored, one.name) for one in fields(Participant)}
    for name in ("id", "meeting_id", "user_id", "user_name", "media_identity"):
        del values[name]
    called = stored.user_name.replace(actor.name, "their own name")
    return values, called, outcome.position, outcome.is_new_guest, told, seats(scene, meeting_id)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_somebody_gets_with_others_what_they_would_get_alone(scene: Scene, situation: str, waits: bool) -> None:
    prepare, wish = SITUATIONS[situation]
    outcomes = []
    for with_others in (False, True):
        host, actor, other = scene.user("The Host"), scene.user(), scene.user()
        meeting_id, elsewhere = scene.meeting(host), scene.meeting(host)
        prepare(scene, meeting_id, actor)
        if with_others:
            first, outcome, last = join_all(
                scene, ask(elsewhere, other), ask(meeting_id, actor, **wish), ask(elsewhere, actor), waits=waits
            )
            assert kinds([first, last]) == [Admission, Admission]
            assert scene.told(elsewhere) == ["meeting_status", "join", "join"]
            outcomes.append(seen(scene, meeting_id, actor, outcome))
        else:
            alone: Outcome
            try:
                alone = scene.join(meeting_id, actor, **wish)
            except DomainError as refused:
                alone = refused
            outcomes.append(seen(scene, meeting_id, actor, alone))
    assert outcomes[0] == outcomes[1]


def test_of_more_people_than_seats_the_first_ones_get_them(scene: Scene) -> None:
    host = scene.user()
    meeting_id = scene.meeting(host, policy={"max_participants": 5})
    people = [scene.user() for _ in range(9)]
    scene.join(meeting_id, people[0])
    outcomes = join_all(scene, *(ask(meeting_id, one) for one in [*people[:8], host, people[8]]))
    assert kinds(outcomes) == [Admission] * 5 + [MaxParticipantsReached] * 3 + [Admission, MaxParticipantsReached]
    assert seats(scene, meeting_id) == 5
    assert scene.told(meeting_id) == ["meeting_status"] + ["join"] * 6
    joined = [one["user_name"] for one in told_data(scene, meeting_id)[1:]]
    assert joined == [person.name for person in [*people[:5], host]]


def told_data(scene: Scene, meeting_id: str) -> list[dict[str, Any]]:
    return [json.loads(entry.data) for entry in scene.events(meeting_stream(meeting_id))]


def test_who_asks_twice_waits_or_tries_a_passcode_is_done_alone(scene: Scene) -> None:
    host, twice, waiter, guesser = (scene.user() for _ in range(4))
    meeting_id, held = scene.meeting(host), scene.meeting(host, policy={"require_waiting_room": True})
    outcomes = join_all(
        scene,
        ask(meeting_id, twice),
        ask(meeting_id, twice),
        ask(held, waiter),
        ask(meeting_id, guesser, passcode="123456"),
        ask(UNKNOWN, guesser),
        ask("no id", guesser),
    )
    assert kinds(outcomes) == [Admission] + [NotTogether] * 3 + [Held] * 2
    assert scene.told(meeting_id) == ["meeting_status", "join"]
    assert scene.told(held) == ["meeting_status"]
    assert seats(scene, meeting_id) == 1


def test_who_waits_already_is_done_alone(scene: Scene) -> None:
    host, waiter = scene.user(), scene.user()
    meeting_id = scene.meeting(host, policy={"require_waiting_room": True})
    scene.join(meeting_id, waiter)
    ruled(require_waiting_room=False)(scene, meeting_id, waiter)
    assert kinds(join_all(scene, ask(meeting_id, waiter), ask(meeting_id, scene.user()))) == [NotTogether, Admission]


def test_seats_that_are_gone_after_all_leave_nothing_behind(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database counts the seats: whatever was thought before, no more than there are is taken."""
    meeting_id = scene.meeting(scene.user(), policy={"max_participants": 2})
    monkeypatch.setattr("shared.participants.service._is_full", lambda *_: False)
    with pytest.raises(NotTogether):
        join_all(scene, *(ask(meeting_id, scene.user()) for _ in range(3)))
    assert (seats(scene, meeting_id), scene.told(meeting_id)) == (0, ["meeting_status"])


@contextmanager
def held(scene: Scene, lock: Callable[[Any], Any]) -> Iterator[None]:
    """Let another transaction hold something meanwhile."""
    with scene.runtime.transaction() as other:
        lock(other)
        yield


@pytest.mark.postgres_only
@pytest.mark.timeout(20)
def test_nobody_waits_for_a_meeting_a_stream_or_a_place_that_somebody_holds(scene: Scene) -> None:
    host, one, other, back = (scene.user() for _ in range(4))
    busy, free = scene.meeting(host), scene.meeting(host)
    has_left(scene, free, back)
    place = scene.place(free, back)
    locks: dict[str, Callable[[Any], Any]] = {
        "meeting": lambda tx: lock_meeting(tx, busy),
        "stream": lambda tx: ledger.hold(tx.connection, [meeting_stream(busy)]),
        "place": lambda tx: tx.all(select(participants.c.id).where(participants.c.id == place.id).with_for_update()),
    }
    found = {}
    for name, lock in locks.items():
        with held(scene, lock):
            found[name] = kinds(join_all(scene, ask(busy, one), ask(free, other), ask(free, back)))
        for who, where in ((one, busy), (other, free), (back, free)):
            if scene_place(scene, where, who) == JOINED:
                scene.leave(where, who)
    assert found == {
        "meeting": [Held, Admission, Admission],
        "stream": [Held, Admission, Admission],
        "place": [Admission, Admission, Held],
    }


def scene_place(scene: Scene, meeting_id: str, actor: Actor) -> str | None:
    with scene.runtime.reading() as tx:
        row = tx.first(
            select(participants.c.status).where(
                participants.c.meeting_id == meeting_id, participants.c.user_id == actor.user_id
            )
        )
    return None if row is None else str(row.status)


def test_thirty_ask_with_no_more_statements_than_three(scene: Scene) -> None:
    host = scene.user()
    counts = []
    for people in (3, 30):
        meeting_ids = [scene.meeting(host) for _ in range(3)]
        actors = [scene.user() for _ in range(people)]
        for actor in actors[::3]:
            has_left(scene, meeting_ids[0], actor)
        asking = [ask(meeting_ids[n % 3], actor) for n, actor in enumerate(actors)]
        with statements_of(scene.runtime) as statements:
            outcomes = join_all(scene, *asking)
        assert kinds(outcomes) == [Admission] * people
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 12


def test_stays_begin_at_each_ones_own_event(scene: Scene) -> None:
    host = scene.user()
    first, second = scene.meeting(host), scene.meeting(host)
    actors = [scene.user() for _ in range(4)]
    outcomes = join_all(scene, *(ask((first, second)[n % 2], actor) for n, actor in enumerate(actors)))
    ids = [one.participant.id for one in outcomes if isinstance(one, Admission)]
    with scene.runtime.reading() as tx:
        rows = {
            row.participant_id: row.entered_seq for row in tx.all(select(stays).where(stays.c.participant_id.in_(ids)))
        }
    assert [rows[id_] for id_ in ids] == [2, 2, 3, 3]
