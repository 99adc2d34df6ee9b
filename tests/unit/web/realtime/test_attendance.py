"""Which connections a process holds, as the database has it: entered in time, removed soon, and in crowds."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import select

from shared.core import ledger
from shared.core.database import TransactionConflict
from shared.core.errors import ServiceUnavailable
from shared.identity.errors import TokenRevoked
from shared.participants import heartbeat as people
from shared.participants.errors import NotInside
from shared.participants.membership import memberships_by_id
from shared.participants.models import participants
from shared.participants.queries import audible_streams
from shared.realtime import presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from tests.factories.sockets import count_of
from tests.factories.world import Person, World
from tests.unit.web.realtime.wire import Peer, run_once, wait_for
from web.realtime import attendance as module
from web.realtime.attendance import Attendance, Entry, RightsChanged
from web.realtime.hub import Hub


class Process:
    """A hub with its attendance, and people who are connected."""

    def __init__(self, runtime: Runtime, held: ExitStack) -> None:
        self.runtime = runtime
        self.hub = Hub(lambda *_: None)
        self.attendance = Attendance(runtime, self.hub)
        self._held = held

    def peer(self, meeting_id: str, participant_id: str, **options: Any) -> Peer:
        """Return somebody who is connected."""
        peer = self._held.enter_context(Peer(meeting_id, participant_id, **options))
        self.hub.add(peer.connection)
        return peer

    def opened(self, peer: Peer) -> Entry:
        """Enter somebody with the streams that a handshake would have found."""
        with self.runtime.reading() as tx:
            found = memberships_by_id(tx, [peer.connection.participant_id])
        keys = [key for membership in found.values() for key in audible_streams(membership.me)]
        return self.attendance.opened(peer.connection, keys)


@pytest.fixture
def process(runtime: Runtime) -> Iterator[Process]:
    """A process."""
    with ExitStack() as held:
        yield Process(runtime, held)


@pytest.fixture
def seated(world: World) -> tuple[Person, str, str]:
    """Somebody inside a meeting; with meeting and participant id."""
    person = world.person()
    meeting_id = world.meeting(person)
    (seat,) = world.inside(meeting_id, person)
    return person, meeting_id, seat["participant_id"]


def test_m27_the_lease_is_renewed_and_a_lost_one_entered_again_with_everybody(
    process: Process, seated: tuple[Person, str, str]
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    peer = process.peer(meeting_id, person, actor=who.actor)
    process.opened(peer)
    assert count_of(process.runtime, person) == 1
    process.attendance.renew()
    with process.runtime.transaction() as tx:
        presence.forget(tx.connection, process.attendance.process_id)
    assert count_of(process.runtime, person) == 0
    process.attendance.renew()
    assert count_of(process.runtime, person) == 1


def test_a_newcomer_to_a_process_that_was_taken_for_dead_is_entered_all_the_same(
    process: Process, seated: tuple[Person, str, str]
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    with process.runtime.transaction() as tx:
        presence.forget(tx.connection, process.attendance.process_id)
    process.opened(process.peer(meeting_id, person, actor=who.actor))
    assert count_of(process.runtime, person) == 1


def test_who_goes_while_the_process_enters_again_is_not_left_behind(
    process: Process, seated: tuple[Person, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    who, meeting_id, person = seated
    peer = process.peer(meeting_id, person, actor=who.actor)
    enter = people.connections_opened

    def enter_and_go(*args: Any) -> set[str]:
        busy = enter(*args)
        process.hub.remove(peer.connection)
        return busy

    monkeypatch.setattr(people, "connections_opened", enter_and_go)
    process.attendance.renew()
    process.attendance.sign_off()
    assert count_of(process.runtime, person) == 0


def test_whose_right_ended_since_the_handshake_is_not_entered(
    process: Process, seated: tuple[Person, str, str]
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    peer = process.peer(meeting_id, person, actor=who.actor)
    assert who.post(f"/meetings/{meeting_id}/leave").status == 200
    with pytest.raises(NotInside):
        process.opened(peer)
    assert who.post("/auth/logout").status == 200
    with pytest.raises(TokenRevoked):
        process.opened(peer)
    assert count_of(process.runtime, person) == 0


def test_a_transaction_that_was_undone_is_run_again_a_few_times(
    process: Process, seated: tuple[Person, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    peer = process.peer(meeting_id, person, actor=who.actor)
    enter = people.connections_opened
    conflicts = [TransactionConflict("40P01")] * 2

    def enter_late(*args: Any) -> set[str]:
        if conflicts:
            raise conflicts.pop()
        return enter(*args)

    monkeypatch.setattr(people, "connections_opened", enter_late)
    process.opened(peer)
    assert count_of(process.runtime, person) == 1
    conflicts += [TransactionConflict("40P01")] * module.RETRIES
    with pytest.raises(ServiceUnavailable):
        process.opened(peer)


@pytest.mark.parametrize("trouble", [ServiceUnavailable(), RuntimeError("a bug")])
def test_a_connection_that_could_not_be_signed_off_is_signed_off_later(
    process: Process, seated: tuple[Person, str, str], monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    peer = process.peer(meeting_id, person, actor=who.actor)
    process.opened(peer)
    process.hub.remove(peer.connection)

    def away(*_: Any, **__: Any) -> None:
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(people, "connections_closed", away)
        process.attendance.closed(peer.connection)
        run_once(patched, process.attendance.see_off)
    assert count_of(process.runtime, person) == 1
    run_once(monkeypatch, process.attendance.see_off)
    assert count_of(process.runtime, person) == 0
    with process.runtime.reading() as tx:
        row = tx.first(select(participants.c.presence).where(participants.c.id == person))
    assert row is not None
    assert row.presence == "reconnecting"
    assert process.attendance._leaving == {}


@pytest.mark.parametrize("trouble", [ServiceUnavailable(), RuntimeError("a bug")])
def test_a_lease_that_cannot_be_renewed_is_tried_again(
    process: Process, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    tries = []

    def renew() -> None:
        tries.append(1)
        raise trouble

    monkeypatch.setattr(process.attendance, "renew", renew)
    run_once(monkeypatch, process.attendance.keep_lease, 3)
    assert len(tries) == 3


def crowd(process: Process, world: World, size: int) -> list[Peer]:
    """Return people who are in two meetings, connected but not entered."""
    people_there = [world.person() for _ in range(size)]
    peers = []
    for half in (people_there[: size // 2], people_there[size // 2 :]):
        meeting_id = world.meeting(half[0])
        for who, seat in zip(half, world.inside(meeting_id, *half), strict=True):
            peers.append(process.peer(meeting_id, seat["participant_id"], actor=who.actor))
    return peers


def enter_together(process: Process, peers: list[Peer], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Enter people in one batch, behind a first one who is alone; return by participant what came of it."""
    outcomes: dict[str, object] = {}
    gate, began = threading.Event(), threading.Event()
    admit = process.attendance._admit

    def admit_slowly(*args: Any) -> Any:
        began.set()
        assert gate.wait(5)
        return admit(*args)

    def enter(peer: Peer) -> None:
        try:
            outcomes[peer.connection.participant_id] = process.opened(peer)
        except Exception as refusal:
            outcomes[peer.connection.participant_id] = refusal

    monkeypatch.setattr(process.attendance, "_admit", admit_slowly)
    threads = [threading.Thread(target=enter, args=(peer,)) for peer in peers]
    threads[0].start()
    assert began.wait(5)
    for thread in threads[1:]:
        thread.start()
    wait_for(lambda: len(process.attendance._openings._waiting.get(None, ())) == len(peers) - 1)
    gate.set()
    for thread in threads:
        thread.join(10)
    return outcomes


def test_p12_a_crowd_is_entered_in_two_transactions_and_seen_off_in_one(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.attendance.enter()
    peers = crowd(process, world, 8)
    persist, batches = process.attendance._persist, []

    def count(*args: Any) -> Any:
        batches.append(1)
        return persist(*args)

    monkeypatch.setattr(process.attendance, "_persist", count)
    outcomes = enter_together(process, peers, monkeypatch)
    assert {type(one) for one in outcomes.values()} == {Entry}
    assert [count_of(process.runtime, one.connection.participant_id) for one in peers] == [1] * 8
    assert len(batches) == 2
    for one in peers:
        process.attendance.closed(one.connection)
    process.attendance.sign_off()
    assert [count_of(process.runtime, one.connection.participant_id) for one in peers] == [0] * 8
    assert len(batches) == 3


def test_one_of_a_crowd_who_may_not_is_refused_and_the_others_are_entered(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.attendance.enter()
    peers = crowd(process, world, 6)
    gone = peers[2].connection
    with process.runtime.transaction() as tx:
        tx.execute(participants.update().where(participants.c.id == gone.participant_id).values(status="left"))
    outcomes = enter_together(process, peers, monkeypatch)
    assert isinstance(outcomes.pop(gone.participant_id), NotInside)
    assert {type(one) for one in outcomes.values()} == {Entry}
    assert count_of(process.runtime, gone.participant_id) == 0


@pytest.mark.postgres_only
def test_nobody_in_a_crowd_waits_for_a_place_that_somebody_else_holds(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.attendance.enter()
    peers = crowd(process, world, 6)
    held = peers[3].connection
    monkeypatch.setattr(module, "RETRIES", 1)
    with process.runtime.transaction() as tx:
        tx.first(select(participants.c.id).where(participants.c.id == held.participant_id).with_for_update())
        outcomes = enter_together(process, peers, monkeypatch)
        refusal = outcomes.pop(held.participant_id)
        assert isinstance(refusal, ServiceUnavailable)  # alone it waited, and in vain
        assert {type(one) for one in outcomes.values()} == {Entry}
        for one in peers:
            process.attendance.closed(one.connection)
        process.attendance.sign_off()
        assert [socket.participant_id for socket in process.attendance._leaving.values()] == [held.participant_id]
    process.attendance.sign_off()
    assert process.attendance._leaving == {}


def test_f23_who_drops_and_is_back_before_the_next_look_was_never_away(
    process: Process, seated: tuple[Person, str, str]
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    first, second = (process.peer(meeting_id, person, actor=who.actor) for _ in range(2))
    process.opened(first)
    process.attendance.closed(first.connection)
    process.opened(second)
    process.attendance.sign_off()
    with process.runtime.reading() as tx:
        assert tx.scalar(select(participants.c.presence).where(participants.c.id == person)) == "connected"


def test_f22_who_was_silent_for_too_long_is_signed_off_at_once_and_who_only_hung_up_is_not(
    process: Process, world: World
) -> None:
    process.attendance.enter()
    silent, hung_up = crowd(process, world, 2)
    for one in (silent, hung_up):
        process.opened(one)
    silent.connection.close(4408, "nothing heard from you")
    for one in (silent, hung_up):
        process.attendance.closed(one.connection)
    assert count_of(process.runtime, silent.connection.participant_id) == 0
    assert count_of(process.runtime, hung_up.connection.participant_id) == 1
    assert [socket.id for socket in process.attendance._leaving.values()] == [hung_up.connection.id]


@pytest.mark.parametrize("looks", [0, 1])  # of those each half second, at the same moment
def test_f22_a_crowd_that_is_silent_is_signed_off_together_and_told_of_once(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    process.attendance.enter()
    peers = crowd(process, world, 8)
    for one in peers:
        process.opened(one)
        one.connection.close(4408)
    persist, batches, gate = process.attendance._persist, [], threading.Event()

    def persist_later(*args: Any) -> Any:
        batches.append(1)
        assert gate.wait(5)
        return persist(*args)

    monkeypatch.setattr(process.attendance, "_persist", persist_later)
    threads = [threading.Thread(target=process.attendance.closed, args=(one.connection,)) for one in peers]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(process.attendance._lost._waiting.get(None, ())) == len(peers) - 1)
    threads += [threading.Thread(target=process.attendance.sign_off) for _ in range(looks)]
    for thread in threads[len(peers) :]:
        thread.start()
    wait_for(lambda: len(batches) == 1 + looks)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert looks or len(batches) == 2  # the first one, and the others together
    process.attendance.sign_off()
    assert process.attendance._leaving == {}
    assert times_told(process, peers) == [1] * 8


def times_told(process: Process, peers: list[Peer]) -> list[int]:
    """Return how often others were told that each of these is reconnecting."""
    with process.runtime.reading() as tx:
        rows = tx.all(select(ledger.events.c.data).where(ledger.events.c.type == "connection_status"))
    told = Counter(json.loads(row.data)["participant_id"] for row in rows)
    return [told[one.connection.participant_id] for one in peers]


@pytest.mark.parametrize("trouble", [ServiceUnavailable(), RuntimeError("a bug")])
def test_f22_who_could_not_be_signed_off_at_once_is_signed_off_later(
    process: Process, seated: tuple[Person, str, str], monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    peer = process.peer(meeting_id, person, actor=who.actor)
    process.opened(peer)
    peer.connection.close(4408)

    def away(*_: Any, **__: Any) -> None:
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(people, "connections_closed", away)
        process.attendance.closed(peer.connection)
    assert count_of(process.runtime, person) == 1
    process.attendance.sign_off()
    assert count_of(process.runtime, person) == 0


def test_a_lease_that_is_lost_is_entered_again_also_for_whom_somebody_held_meanwhile(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = crowd(process, world, 4)
    enter, calls = people.connections_opened, []

    def skip_first(tx: Any, process_id: str, sockets: list[Socket]) -> set[str]:
        calls.append(len(sockets))
        if len(sockets) == 1:
            return enter(tx, process_id, sockets)
        return enter(tx, process_id, sockets[1:]) | {sockets[0].participant_id}

    monkeypatch.setattr(people, "connections_opened", skip_first)
    process.attendance.renew()
    assert calls == [4, 1]
    assert [count_of(process.runtime, one.connection.participant_id) for one in peers] == [1] * 4


def test_who_was_let_in_or_sent_away_since_the_handshake_has_to_come_again(
    process: Process, seated: tuple[Person, str, str]
) -> None:
    who, meeting_id, person = seated
    process.attendance.enter()
    peer = process.peer(meeting_id, person, actor=who.actor)
    with pytest.raises(RightsChanged):
        process.attendance.opened(peer.connection, [f"p:{person}"])
    assert count_of(process.runtime, person) == 0
    process.opened(peer)
    assert count_of(process.runtime, person) == 1
