"""Presence of people: connected, reconnecting, and after the grace left."""

import json

import pytest
from sqlalchemy import select

from shared.core.ids import new_id
from shared.core.streams import hosts_stream, meeting_stream
from shared.identity.actor import Actor
from shared.participants import heartbeat, leaving
from shared.participants.models import CONNECTED, JOINED, LEFT, RECONNECTING, WAITING
from shared.realtime import presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock


class House(Scene):
    """A scene with web processes that hold connections."""

    def process(self) -> str:
        process_id = new_id()
        with self.runtime.transaction() as tx:
            presence.register(tx.connection, process_id, "web", tx.now)
        return process_id

    def open(self, process_id: str, meeting_id: str, actor: Actor) -> str:
        connection_id = new_id()
        place = self.place(meeting_id, actor)
        with self.runtime.transaction() as tx:
            heartbeat.connections_opened(tx, process_id, [Socket(connection_id, meeting_id, place.id)])
        return connection_id

    def close(self, connection_id: str, meeting_id: str, actor: Actor) -> None:
        place = self.place(meeting_id, actor)
        with self.runtime.transaction() as tx:
            heartbeat.connections_closed(tx, [Socket(connection_id, place.meeting_id, place.id)])

    def renew(self, *process_ids: str) -> None:
        with self.runtime.transaction() as tx:
            for process_id in process_ids:
                assert presence.renew(tx.connection, process_id, tx.now)

    def sweep(self, meeting_id: str) -> int:
        with self.runtime.reading() as tx:
            assert heartbeat.stale_meetings(tx).count(meeting_id) <= 1
        with self.runtime.transaction() as tx:
            return heartbeat.sweep_meeting(tx, meeting_id)

    def is_stale(self, meeting_id: str) -> bool:
        with self.runtime.reading() as tx:
            return meeting_id in heartbeat.stale_meetings(tx)

    def statuses(self, meeting_id: str) -> list[str]:
        return [
            json.loads(entry.data)["status"]
            for entry in self.events(meeting_stream(meeting_id))
            if entry.type == "connection_status"
        ]


def inside(house: House) -> tuple[str, Actor]:
    meeting_id = house.meeting(house.user())
    ada = house.user()
    house.join(meeting_id, ada)
    return meeting_id, ada


def test_a_first_connection_tells_nothing_and_the_last_one_lost_does(timed: Runtime) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    process = house.process()
    first, second = (house.open(process, meeting_id, ada) for _ in range(2))
    assert (house.place(meeting_id, ada).presence, house.statuses(meeting_id)) == (CONNECTED, [])
    house.close(first, meeting_id, ada)
    assert (house.place(meeting_id, ada).presence, house.statuses(meeting_id)) == (CONNECTED, [])
    house.close(second, meeting_id, ada)
    place = house.place(meeting_id, ada)
    assert (place.status, place.presence, place.disconnected_at) == (JOINED, RECONNECTING, timed.now())
    house.open(process, meeting_id, ada)
    place = house.place(meeting_id, ada)
    assert (place.presence, place.disconnected_at) == (CONNECTED, None)
    assert house.statuses(meeting_id) == [RECONNECTING, CONNECTED]


def test_p9_who_comes_back_within_the_grace_stays_and_who_does_not_has_left(timed: Runtime, clock: FakeClock) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    bob = house.user()
    house.join(meeting_id, bob)
    process = house.process()
    for who in (ada, bob):
        house.close(house.open(process, meeting_id, who), meeting_id, who)
    clock.pass_(seconds=timed.settings.presence_grace - 0.001)
    assert (house.is_stale(meeting_id), house.sweep(meeting_id)) == (False, 0)
    house.renew(process)
    house.open(process, meeting_id, ada)
    clock.pass_(seconds=0.001)
    assert (house.is_stale(meeting_id), house.sweep(meeting_id)) == (True, 1)
    assert house.place(meeting_id, ada).status == JOINED
    assert house.place(meeting_id, bob).status == LEFT
    leaving = [json.loads(e.data) for e in house.events(meeting_stream(meeting_id)) if e.type == "leave"]
    assert [(event["user_id"], event["reason"]) for event in leaving] == [(bob.user_id, "connection_lost")]
    assert house.state(meeting_id).seats_taken == 1
    assert (house.is_stale(meeting_id), house.sweep(meeting_id)) == (False, 0)


def test_who_never_opened_a_socket_is_not_swept(timed: Runtime, clock: FakeClock) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    clock.pass_(hours=1)
    assert house.sweep(meeting_id) == 0
    assert house.place(meeting_id, ada).status == JOINED


def test_a_waiter_without_a_connection_loses_the_place_in_the_queue(timed: Runtime, clock: FakeClock) -> None:
    house = House(timed)
    meeting_id = house.meeting(house.user(), policy={"require_waiting_room": True})
    ada = house.user()
    house.join(meeting_id, ada)
    house.close(house.open(house.process(), meeting_id, ada), meeting_id, ada)
    assert house.place(meeting_id, ada).presence == RECONNECTING
    assert house.statuses(meeting_id) == []  # nobody inside hears of waiters
    clock.pass_(seconds=timed.settings.presence_grace)
    assert house.sweep(meeting_id) == 1
    assert house.place(meeting_id, ada).status == LEFT
    actions = [json.loads(e.data)["action"] for e in house.events(hosts_stream(meeting_id))]
    assert actions == ["waiting", "withdrawn"]
    assert not house.is_stale(meeting_id)


def test_a_waiter_who_was_admitted_meanwhile_is_not_withdrawn(timed: Runtime) -> None:
    house = House(timed)
    meeting_id = house.meeting(house.user(), policy={"require_waiting_room": True})
    ada = house.user()
    waiting = house.join(meeting_id, ada).participant
    assert waiting.status == WAITING
    house.leave(meeting_id, ada)
    with timed.transaction() as tx:
        leaving.withdraw(tx, waiting)
    assert len(house.events(hosts_stream(meeting_id))) == 2


def test_a_meeting_that_is_over_is_not_swept(timed: Runtime, clock: FakeClock) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    house.close(house.open(house.process(), meeting_id, ada), meeting_id, ada)
    house.end(meeting_id)
    clock.pass_(hours=1)
    assert (house.is_stale(meeting_id), house.sweep(meeting_id)) == (False, 0)


def test_p9_the_death_of_a_process_bereaves_only_those_with_no_other_connection(
    timed: Runtime, clock: FakeClock
) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    bob = house.user()
    house.join(meeting_id, bob)
    dying, living = house.process(), house.process()
    for process, who in ((dying, ada), (dying, bob), (living, bob)):
        house.open(process, meeting_id, who)
    clock.pass_(seconds=presence.LEASE_SECONDS - 1)
    house.renew(living)
    died_at = clock.pass_(seconds=2)
    with timed.transaction() as tx:
        # Other tests may have left processes whose leases are over by this clock; these two are ours.
        assert heartbeat.sweep_processes(tx) >= 1
    lost, still = house.place(meeting_id, ada), house.place(meeting_id, bob)
    assert (lost.presence, still.presence) == (RECONNECTING, CONNECTED)
    assert lost.disconnected_at is not None
    assert lost.disconnected_at < died_at  # the grace counts from the last sign of life
    assert house.statuses(meeting_id) == [RECONNECTING]
    with timed.reading() as tx:
        left = tx.all(select(presence.connections.c.process_id).where(presence.connections.c.meeting_id == meeting_id))
    assert [row.process_id for row in left] == [living]


def test_s48_the_oldest_connections_of_one_person_beyond_the_limit_are_closed(timed: Runtime, clock: FakeClock) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    process, place = house.process(), house.place(meeting_id, ada)
    opened = []
    for _ in range(timed.settings.ws_max_per_person):
        clock.pass_(seconds=1)
        opened.append(house.open(process, meeting_id, ada))
    with timed.transaction() as tx:
        heartbeat.connections_opened(tx, process, [Socket(new_id(), meeting_id, place.id)])
        assert tx.orders == [f"connection {opened[0]}"]


@pytest.mark.parametrize("status", [LEFT, JOINED])
def test_the_connection_of_somebody_who_went_meanwhile_brings_nobody_back(timed: Runtime, status: str) -> None:
    house = House(timed)
    meeting_id, ada = inside(house)
    if status == LEFT:
        house.leave(meeting_id, ada)
    house.open(house.process(), meeting_id, ada)
    place = house.place(meeting_id, ada)
    assert (place.status, place.presence) == (status, CONNECTED if status == JOINED else None)
    assert house.statuses(meeting_id) == []
