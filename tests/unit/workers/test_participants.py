"""The sweeps: nobody stays in a meeting who is not there."""

from collections.abc import Callable

import pytest

from shared.core.ids import new_id
from shared.core.streams import meeting_stream
from shared.participants import heartbeat
from shared.participants.entering import seats_in_use
from shared.participants.models import CONNECTED, RECONNECTING, Participant
from shared.realtime import presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from workers.participants import sweep_processes, sweep_stale

pytestmark = pytest.mark.usefixtures("alone")

GRACE = 30


def process(runtime: Runtime) -> str:
    """Enter a web process that never renews its lease."""
    process_id = new_id()
    with runtime.transaction() as tx:
        presence.register(tx.connection, process_id, "web", tx.now)
    return process_id


def connect(runtime: Runtime, process_id: str, person: Participant) -> str:
    connection_id = new_id()
    with runtime.transaction() as tx:
        heartbeat.connections_opened(tx, process_id, [Socket(connection_id, person.meeting_id, person.id)])
    return connection_id


def disconnect(runtime: Runtime, connection_id: str, person: Participant) -> None:
    with runtime.transaction() as tx:
        heartbeat.connections_closed(tx, [Socket(connection_id, person.meeting_id, person.id)])


@pytest.fixture
def meeting_id(scene: Scene) -> str:
    return scene.meeting(scene.user())


@pytest.fixture
def enter(scene: Scene, meeting_id: str) -> Callable[[], Participant]:
    return lambda: scene.join(meeting_id, scene.user()).participant


def presence_of(scene: Scene, person: Participant) -> tuple[str, str | None]:
    now = scene.participant(person.meeting_id, person.id)
    return now.status, now.presence


def test_people_of_a_dead_process_are_reconnecting_since_its_last_sign(bench, scene, clock, enter) -> None:
    person = enter()
    connect(bench, process(bench), person)
    died_at = clock.now()
    clock.pass_(seconds=presence.LEASE_SECONDS - 1)
    assert sweep_processes(bench) == 0
    assert presence_of(scene, person) == ("joined", CONNECTED)

    clock.pass_(seconds=1)
    assert sweep_processes(bench) == 1
    assert presence_of(scene, person) == ("joined", RECONNECTING)
    assert scene.participant(person.meeting_id, person.id).disconnected_at == died_at
    assert sweep_processes(bench) == 0


def test_whoever_has_a_connection_on_a_living_process_does_not_notice(bench, scene, clock, enter) -> None:
    person = enter()
    connect(bench, process(bench), person)
    clock.pass_(seconds=presence.LEASE_SECONDS)
    connect(bench, process(bench), person)

    assert sweep_processes(bench) == 0
    assert presence_of(scene, person) == ("joined", CONNECTED)


def test_a_person_whose_grace_is_over_has_left_and_all_are_told_once(bench, scene, clock, meeting_id, enter) -> None:
    person = enter()
    disconnect(bench, connect(bench, process(bench), person), person)
    clock.pass_(seconds=GRACE - 0.001)
    assert sweep_stale(bench) == 0

    clock.pass_(seconds=0.001)
    assert sweep_stale(bench) == 1
    assert presence_of(scene, person) == ("left", None)
    assert scene.told(meeting_id)[-1] == "leave"
    told = len(scene.events(meeting_stream(meeting_id)))
    assert sweep_stale(bench) == 0
    assert len(scene.events(meeting_stream(meeting_id))) == told


def test_a_person_who_came_back_in_time_stays(bench, scene, clock, enter) -> None:
    person = enter()
    disconnect(bench, connect(bench, process(bench), person), person)
    clock.pass_(seconds=GRACE - 1)
    connect(bench, process(bench), person)
    clock.pass_(seconds=GRACE)

    assert sweep_stale(bench) == 0
    assert presence_of(scene, person) == ("joined", CONNECTED)


def test_somebody_in_the_waiting_room_loses_the_place_in_the_queue_without_a_word_to_those_inside(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    meeting_id = scene.meeting(scene.user(), policy={"require_waiting_room": True})
    waiter = scene.join(meeting_id, scene.user()).participant
    disconnect(bench, connect(bench, process(bench), waiter), waiter)
    told = scene.told(meeting_id)
    clock.pass_(seconds=GRACE)

    assert sweep_stale(bench) == 1
    assert presence_of(scene, waiter) == ("left", None)
    assert scene.told(meeting_id) == told


def test_after_kill_9_everybody_of_the_process_is_out_within_a_minute_and_seats_are_free(
    bench: Runtime, scene: Scene, clock: FakeClock, meeting_id: str, enter: Callable[[], Participant]
) -> None:
    people = [enter() for _ in range(6)]
    dead = process(bench)
    for person in people:
        connect(bench, dead, person)
    began, swept = clock.now(), 0
    while swept < len(people):
        clock.pass_(seconds=5)  # beat's pace
        sweep_processes(bench)
        swept += sweep_stale(bench)

    assert (clock.now() - began).total_seconds() <= 60
    with bench.reading() as tx:
        assert seats_in_use(tx, meeting_id) == 0
    assert scene.state(meeting_id).seats_taken == 0
    assert scene.told(meeting_id).count("leave") == len(people)


def test_more_people_than_one_transaction_takes_are_swept_in_several(
    bench: Runtime, scene: Scene, clock: FakeClock, enter: Callable[[], Participant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SWEEP_LIMIT", 2)
    for person in [enter() for _ in range(5)]:
        disconnect(bench, connect(bench, process(bench), person), person)
    clock.pass_(seconds=GRACE)

    assert sweep_stale(bench) == 5


def test_a_meeting_that_ended_meanwhile_is_left_alone(
    bench: Runtime, scene: Scene, clock: FakeClock, meeting_id: str, enter: Callable[[], Participant]
) -> None:
    person = enter()
    disconnect(bench, connect(bench, process(bench), person), person)
    scene.end(meeting_id)
    told = scene.told(meeting_id)
    clock.pass_(seconds=GRACE)

    assert sweep_stale(bench) == 0
    assert scene.told(meeting_id) == told
