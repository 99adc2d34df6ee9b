"""Presence of people (P9): connected, reconnecting, and after the grace left."""

import json
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.core.ids import new_id
from shared.participants import heartbeat, leaving
from shared.participants.models import JOINED, LEFT, WAITING, Participant, participants, stays
from shared.realtime import presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from tests.factories.statements import statements_of
from tests.factories.world import Person, World
from tests.fakes.clock import FakeClock

GRACE = 30


class Place:
    """Somebody's place in a running meeting, and the connections they open."""

    def __init__(self, runtime: Runtime, world: World, clock: FakeClock, **policy: Any) -> None:
        self.runtime = runtime
        self.clock = clock
        self.host = world.person()
        self.meeting_id = world.meeting(self.host, policy=policy)
        self.person: Person = world.person()
        self.host.post(f"/meetings/{self.meeting_id}/join")
        self.id = self.person.post(f"/meetings/{self.meeting_id}/join").data["participant_id"]
        self.process = self.new_process()

    def new_process(self) -> str:
        """Enter a web process."""
        process = new_id()
        with self.runtime.transaction() as tx:
            presence.register(tx.connection, process, "web", tx.now)
        return process

    def open(self, process: str | None = None) -> tuple[str, list[tuple[str, Any]], list[str]]:
        """Open a connection; return its id, what was told, and the orders that went out."""
        id_ = new_id()
        with self.runtime.transaction() as tx:
            heartbeat.connections_opened(tx, process or self.process, [Socket(id_, self.meeting_id, self.id)])
        return id_, told(tx), tx.orders

    def close(self, id_: str) -> list[tuple[str, Any]]:
        """Close a connection; return what was told."""
        with self.runtime.transaction() as tx:
            heartbeat.connections_closed(tx, [Socket(id_, self.meeting_id, self.id)])
        return told(tx)

    def row(self) -> Any:
        """Return the place as it is kept."""
        with self.runtime.reading() as tx:
            return tx.first(select(participants).where(participants.c.id == self.id))

    def sweep(self) -> list[tuple[str, Any]]:
        """Let those go whose grace is over; return what was told."""
        with self.runtime.transaction() as tx:
            heartbeat.sweep_meeting(tx, self.meeting_id)
        return told(tx)

    def is_stale(self) -> bool:
        """Tell whether beat would look at the meeting."""
        with self.runtime.transaction() as tx:
            return self.meeting_id in heartbeat.stale_meetings(tx)


def told(tx: Any) -> list[tuple[str, Any]]:
    """Return the types of the events of a transaction, with the status that they tell."""
    return [(e.type, json.loads(e.data).get("status", json.loads(e.data).get("action"))) for e in tx.entries]


@pytest.fixture
def place(timed: Runtime, world: World, clock: FakeClock) -> Place:
    """Somebody who is inside."""
    return Place(timed, world, clock)


def test_the_first_connection_tells_nothing_that_the_join_has_not_told(place: Place) -> None:
    assert place.row().presence is None
    assert place.open()[1] == []
    assert place.row().presence == "connected"
    assert place.open()[1] == []


def test_the_last_connection_that_closes_makes_reconnecting_and_the_next_one_connected(place: Place) -> None:
    one, two = place.open()[0], place.open()[0]
    assert place.close(one) == []
    at = place.clock.pass_(seconds=3)
    assert place.close(two) == [("connection_status", "reconnecting")]
    assert (place.row().presence, place.row().disconnected_at) == ("reconnecting", at)
    assert place.open()[1] == [("connection_status", "connected")]
    assert (place.row().presence, place.row().disconnected_at) == ("connected", None)


def test_people_of_many_meetings_are_lost_and_come_back_with_no_more_statements_than_those_of_two(
    timed: Runtime, world: World, clock: FakeClock
) -> None:
    counts = []
    for meetings in (2, 6):
        places = [Place(timed, world, clock) for _ in range(meetings)]
        sockets = [Socket(place.open()[0], place.meeting_id, place.id) for place in places]
        with statements_of(timed) as statements, timed.transaction() as tx:
            heartbeat.connections_closed(tx, sockets)
        assert told(tx) == [("connection_status", "reconnecting")] * meetings
        assert {entry.meeting_id for entry in tx.entries} == {place.meeting_id for place in places}
        again = [Socket(new_id(), place.meeting_id, place.id) for place in places]
        with statements_of(timed) as more, timed.transaction() as tx:
            heartbeat.connections_opened(tx, places[0].process, again)
        assert told(tx) == [("connection_status", "connected")] * meetings
        counts.append((len(statements), len(more)))
    assert counts[0] == counts[1]


def test_after_the_grace_and_not_before_a_person_without_a_connection_has_left(place: Place) -> None:
    place.close(place.open()[0])
    place.clock.pass_(seconds=GRACE - 1)
    assert (place.is_stale(), place.sweep(), place.row().status) == (False, [], JOINED)
    place.clock.pass_(seconds=1)
    assert place.is_stale()
    assert place.sweep() == [("leave", LEFT)]
    assert (place.row().status, place.row().presence) == (LEFT, None)
    assert (place.is_stale(), place.sweep()) == (False, [])
    with place.runtime.reading() as tx:
        stay = tx.first(select(stays).where(stays.c.participant_id == place.id))
    assert stay is not None
    assert stay.left_at == place.clock.now()


def test_who_comes_back_within_the_grace_stays(place: Place) -> None:
    place.close(place.open()[0])
    place.clock.pass_(seconds=GRACE - 1)
    place.open()
    place.clock.pass_(seconds=GRACE)
    assert (place.is_stale(), place.sweep(), place.row().status) == (False, [], JOINED)


def test_a_person_who_left_gets_no_presence_from_a_socket_that_comes_late(place: Place) -> None:
    place.person.post(f"/meetings/{place.meeting_id}/leave")
    id_, heard, _ = place.open()
    assert (heard, place.row().presence) == ([], None)
    assert place.close(id_) == []


def test_a_waiter_is_told_to_nobody_and_after_the_grace_out_of_the_queue(
    timed: Runtime, world: World, clock: FakeClock
) -> None:
    place = Place(timed, world, clock, require_waiting_room=True)
    assert place.row().status == WAITING
    assert place.close(place.open()[0]) == []
    assert place.row().presence == "reconnecting"
    id_, heard, _ = place.open()
    assert (heard, place.close(id_)) == ([], [])
    clock.pass_(seconds=GRACE)
    assert place.sweep() == [("waiting_room", "withdrawn")]
    assert (place.row().status, place.row().waiting_since) == (LEFT, None)


def test_a_waiter_who_was_let_in_meanwhile_is_not_withdrawn(timed: Runtime, world: World, clock: FakeClock) -> None:
    place = Place(timed, world, clock, require_waiting_room=True)
    with timed.transaction() as tx:
        seen = Participant.of(place.row())
        tx.execute(update(participants).where(participants.c.id == place.id).values(status=JOINED))
        leaving.withdraw(tx, seen)
    assert told(tx) == []
    assert place.row().status == JOINED


def test_a_meeting_that_is_over_is_not_swept(place: Place) -> None:
    place.close(place.open()[0])
    place.clock.pass_(seconds=GRACE)
    place.host.post(f"/meetings/{place.meeting_id}/end")
    with place.runtime.transaction() as tx:
        assert heartbeat.sweep_meeting(tx, place.meeting_id) == 0
    assert place.sweep() == []


def test_p9_m27_the_connections_of_a_dead_process_are_taken_away_and_the_grace_counts_from_its_last_sign(
    place: Place,
) -> None:
    alive = place.new_process()
    last_sign = place.clock.now()
    place.open()
    place.clock.pass_(seconds=presence.LEASE_SECONDS - 1)
    with place.runtime.transaction() as tx:
        presence.renew(tx.connection, alive, tx.now)
        heartbeat.sweep_processes(tx)
    assert place.row().presence == "connected"
    place.clock.pass_(seconds=1)
    with place.runtime.transaction() as tx:
        assert heartbeat.sweep_processes(tx) >= 1
    assert ("connection_status", "reconnecting") in told(tx)
    assert (place.row().presence, place.row().disconnected_at) == ("reconnecting", last_sign)
    with place.runtime.transaction() as tx:
        assert heartbeat.sweep_processes(tx) == 0
        assert not presence.renew(tx.connection, place.process, tx.now)


def test_p9_who_is_connected_elsewhere_does_not_notice_the_death_of_a_process(place: Place) -> None:
    place.open()
    place.clock.pass_(seconds=presence.LEASE_SECONDS - 5)
    place.open(place.new_process())
    place.clock.pass_(seconds=5)
    with place.runtime.transaction() as tx:
        heartbeat.sweep_processes(tx)
    assert place.meeting_id not in {entry.meeting_id for entry in tx.entries}
    assert place.row().presence == "connected"


def test_s48_more_than_five_connections_order_the_oldest_closed(place: Place) -> None:
    first = place.open()[0]
    for _ in range(4):
        assert place.open()[2] == []
    assert place.open()[2] == [f"connection {first}"]


def test_lost_says_how_many_were_connected(place: Place) -> None:
    place.open()
    with place.runtime.transaction() as tx:
        assert heartbeat.lost(tx, [place.id, new_id()], tx.now) == 1
        assert heartbeat.lost(tx, [place.id], tx.now) == 0
