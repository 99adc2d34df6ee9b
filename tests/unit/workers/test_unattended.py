"""Meetings that nobody looks after: without a host, with people in front of the door, without anybody."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.core.streams import hosts_stream, meeting_stream, personal_stream
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.participants import handover, moderation, unattended
from shared.participants.models import RECONNECTING, Participant
from shared.policies.service import change_policy
from shared.runtime import Runtime
from tests.factories.scene import Scene, change_place
from tests.fakes.clock import FakeClock
from workers.participants import end_idle, escalate_waiting, hand_over

pytestmark = pytest.mark.usefixtures("alone")


class House:
    """A running meeting that its host has left again."""

    def __init__(self, scene: Scene, clock: FakeClock, **policy: Any) -> None:
        self.scene, self.clock = scene, clock
        self.host = scene.user("Hosta")
        self.id = scene.meeting(self.host, policy={"host_handover": "promote", "host_handover_minutes": 5, **policy})
        scene.join(self.id, self.host)

    def enter(self, actor: Actor | None = None, **wish: Any) -> Participant:
        """Let somebody in, a moment after those before."""
        self.clock.pass_(seconds=1)
        return self.scene.join(self.id, actor or self.scene.user(), **wish).participant

    def role(self, person: Participant) -> str:
        return self.scene.participant(self.id, person.id).role

    def updates(self) -> list[str]:
        return [
            entry.data for entry in self.scene.events(meeting_stream(self.id)) if entry.type == "participant_update"
        ]

    def status(self) -> str:
        return self.scene.state(self.id).status


@pytest.fixture
def house(scene: Scene, clock: FakeClock) -> House:
    return House(scene, clock)


# --- without a host


def test_the_co_host_who_is_there_longest_becomes_host_once(bench: Runtime, house: House, clock: FakeClock) -> None:
    ann = house.enter()
    first, second = house.enter(house.scene.co_host(house.id)), house.enter(house.scene.co_host(house.id))
    house.scene.leave(house.id, house.host)
    clock.pass_(minutes=5, milliseconds=-1)
    assert hand_over(bench) == 0

    clock.pass_(milliseconds=1)
    assert hand_over(bench) == 1
    assert [house.role(one) for one in (ann, first, second)] == ["attendee", "host", "co-host"]
    told = house.updates()
    assert len(told) == 1
    assert first.id in told[0]
    assert '"role":"host"' in told[0]
    (own,) = house.scene.events(personal_stream(first.id))
    assert (own.type, own.actor_id) == ("participant_update", None)

    clock.pass_(minutes=60)
    assert hand_over(bench) == 0
    assert len(house.updates()) == 1


def test_without_a_co_host_it_is_an_attendee_with_an_account_whose_seat_is_free_then(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    house = House(scene, clock, allow_anonymous_join=True)
    guest = house.enter(scene.guest(house.id))
    away, ann, bob = house.enter(), house.enter(), house.enter()
    change_place(bench, away.id, presence=RECONNECTING, disconnected_at=clock.now())
    scene.leave(house.id, house.host)
    clock.pass_(minutes=5)
    assert hand_over(bench) == 1
    assert [house.role(one) for one in (guest, away, ann, bob)] == ["attendee", "attendee", "host", "attendee"]
    assert scene.state(house.id).seats_taken == 3
    (own,) = scene.events(personal_stream(ann.id))
    assert '"hosts":0' in own.data


def test_a_meeting_in_which_nobody_can_be_host_waits_for_somebody(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    house = House(scene, clock, allow_anonymous_join=True)
    scene.guest(house.id)
    scene.leave(house.id, house.host)
    clock.pass_(minutes=6)
    assert hand_over(bench) == 0
    ann = house.enter()
    assert hand_over(bench) == 1
    assert house.role(ann) == "host"


def test_at_once_is_at_once(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    house = House(scene, clock, host_handover_minutes=0)
    ann = house.enter()
    assert hand_over(bench) == 0
    scene.leave(house.id, house.host)
    assert hand_over(bench) == 1
    assert house.role(ann) == "host"


@pytest.mark.parametrize("rule", ["wait", None])
def test_a_meeting_whose_policy_waits_is_left_alone(
    bench: Runtime, scene: Scene, clock: FakeClock, rule: str | None
) -> None:
    host = scene.user()
    meeting_id = scene.meeting(host, policy={"host_handover": rule} if rule else {})
    scene.join(meeting_id, host)
    ann = scene.join(meeting_id, scene.user()).participant
    scene.leave(meeting_id, host)
    clock.pass_(days=1)
    assert hand_over(bench) == 0
    assert scene.participant(meeting_id, ann.id).role == "attendee"


def test_a_meeting_without_a_host_can_end(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    house = House(scene, clock, host_handover="end", host_handover_minutes=1)
    ann = house.enter()
    scene.leave(house.id, house.host)
    clock.pass_(seconds=59)
    assert hand_over(bench) == 0
    clock.pass_(seconds=1)
    assert hand_over(bench) == 1
    assert (house.status(), scene.participant(house.id, ann.id).status) == ("completed", "left")
    assert scene.told(house.id).count("meeting_status") == 2
    assert hand_over(bench) == 0


def test_a_host_who_never_came_has_not_left(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    meeting_id = scene.meeting(scene.user(), policy={"host_handover": "end", "host_handover_minutes": 0})
    scene.join(meeting_id, scene.user())
    clock.pass_(days=1)
    assert hand_over(bench) == 0


def test_a_second_host_inside_is_enough(bench: Runtime, house: House, clock: FakeClock) -> None:
    ann, bob = house.enter(), house.enter()
    with bench.transaction() as tx:
        moderation.change(tx, house.id, house.host, bob.id, {"role": "host"})
    house.scene.leave(house.id, house.host)
    clock.pass_(days=1)
    assert hand_over(bench) == 0
    assert house.role(ann) == "attendee"


def test_a_host_who_comes_back_in_time_is_the_only_one_and_later_is_one_of_two(
    bench: Runtime, house: House, clock: FakeClock
) -> None:
    ann = house.enter()
    house.scene.leave(house.id, house.host)
    clock.pass_(minutes=4)
    house.enter(house.host)
    clock.pass_(days=1)
    assert hand_over(bench) == 0
    house.scene.leave(house.id, house.host)
    clock.pass_(minutes=5)
    assert hand_over(bench) == 1
    assert house.enter(house.host).role == "host"
    clock.pass_(days=1)
    assert hand_over(bench) == 0
    assert house.role(ann) == "host"
    assert len(house.updates()) == 1


def test_s59_sweeps_and_a_returning_host_at_the_same_time_make_one_owner_and_one_event(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    for _ in range(8):
        house = House(scene, clock, host_handover_minutes=0)
        people = [house.enter() for _ in range(3)]
        scene.leave(house.id, house.host)

        def sweep(_: int, meeting_id: str = house.id) -> int:
            with bench.transaction() as tx:
                return handover.hand_over(tx, meeting_id)

        with ThreadPoolExecutor(8) as pool:
            back = pool.submit(scene.join, house.id, house.host)
            promoted = sum(pool.map(sweep, range(6)))
            assert back.result().participant.role == "host"
        roles = [house.role(one) for one in people]
        assert roles.count("host") == promoted <= 1
        assert len(house.updates()) == promoted
        assert roles[1:] == ["attendee", "attendee"]


# --- in front of the door

HELD = {"require_waiting_room": True, "waiting_room_timeout_minutes": 3}


def waits(house: House) -> Participant:
    return house.enter()


def heard(house: House, person: Participant) -> list[str]:
    """Return what somebody who waits was told."""
    return [entry.data for entry in house.scene.events(personal_stream(person.id))]


def overdue(house: House) -> int:
    entries = house.scene.events(hosts_stream(house.id))
    return sum('"action":"overdue"' in entry.data for entry in entries)


@pytest.mark.parametrize("is_host_there", [True, False])
def test_hosts_and_who_waits_are_told_once_that_nobody_has_answered(
    bench: Runtime, scene: Scene, clock: FakeClock, *, is_host_there: bool
) -> None:
    house = House(scene, clock, **HELD)
    if not is_host_there:
        scene.leave(house.id, house.host)
    wanda = waits(house)
    clock.pass_(minutes=3, milliseconds=-1)
    assert escalate_waiting(bench) == 0
    clock.pass_(milliseconds=1)
    assert escalate_waiting(bench) == 1
    assert overdue(house) == 1
    (message,) = heard(house, wanda)
    assert "Nobody has answered yet." in message
    later = waits(house)
    clock.pass_(minutes=3)
    assert escalate_waiting(bench) == 1
    assert (len(heard(house, wanda)), len(heard(house, later)), overdue(house)) == (1, 1, 2)
    clock.pass_(days=1)
    assert escalate_waiting(bench) == 0


def test_who_goes_away_and_asks_again_waits_anew(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    house = House(scene, clock, **HELD)
    wanda = scene.user()
    house.enter(wanda)
    clock.pass_(minutes=3)
    assert escalate_waiting(bench) == 1
    scene.leave(house.id, wanda)
    house.enter(wanda)
    assert escalate_waiting(bench) == 0
    clock.pass_(minutes=3)
    assert escalate_waiting(bench) == 1


def test_without_a_time_nobody_is_told_anything(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    house = House(scene, clock, require_waiting_room=True, waiting_room_escalation="close")
    wanda = waits(house)
    clock.pass_(days=1)
    assert escalate_waiting(bench) == 0
    assert scene.participant(house.id, wanda.id).status == "waiting"


def test_when_neither_host_nor_co_host_is_there_an_attendee_is_made_one_once(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    house = House(scene, clock, host_handover="wait", waiting_room_timeout_minutes=3, waiting_room_escalation="promote")
    ann, bob = house.enter(), house.enter()
    with bench.transaction() as tx:
        change_policy(tx, house.id, house.host, {"require_waiting_room": True}, replace=False)
    scene.leave(house.id, house.host)
    waits(house)
    waits(house)
    clock.pass_(minutes=4)
    assert escalate_waiting(bench) == 2
    assert [house.role(one) for one in (ann, bob)] == ["co-host", "attendee"]
    (own,) = scene.events(personal_stream(ann.id))
    assert '"hosts":2' in own.data  # two have asked; that nobody answered the new co-host hears already
    assert overdue(house) == 2
    waits(house)
    clock.pass_(minutes=4)
    assert escalate_waiting(bench) == 1
    assert house.role(bob) == "attendee"
    assert len(house.updates()) == 1


def test_a_host_who_is_there_and_does_not_answer_is_not_replaced(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    house = House(scene, clock, **HELD, waiting_room_escalation="promote")
    waits(house)
    clock.pass_(minutes=4)
    assert escalate_waiting(bench) == 1
    assert house.updates() == []
    assert overdue(house) == 1


def test_who_waited_in_vain_is_denied_and_may_ask_again(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    house = House(scene, clock, **HELD, waiting_room_escalation="close")
    wanda = scene.user()
    early = house.enter(wanda)
    clock.pass_(minutes=2)
    late = waits(house)
    clock.pass_(minutes=1)
    assert escalate_waiting(bench) == 1
    assert scene.participant(house.id, early.id).status == "denied"
    assert scene.participant(house.id, late.id).status == "waiting"
    (told,) = heard(house, early)
    assert '"action":"denied"' in told
    assert "Nobody has answered." in told
    assert house.enter(wanda).status == "waiting"


# --- without anybody


def test_a_meeting_that_everybody_has_left_ends_after_its_time(bench: Runtime, scene: Scene, clock: FakeClock) -> None:
    house = House(scene, clock, idle_timeout_minutes=10)
    ann = scene.user()
    house.enter(ann)
    clock.pass_(days=1)
    scene.leave(house.id, house.host)
    assert end_idle(bench) == 0
    scene.leave(house.id, ann)
    clock.pass_(minutes=10, milliseconds=-1)
    assert end_idle(bench) == 0
    clock.pass_(milliseconds=1)
    assert end_idle(bench) == 1
    assert (house.status(), scene.state(house.id).ended_by) == ("completed", None)
    assert end_idle(bench) == 0


def test_a_meeting_that_nobody_came_to_ends_too_and_who_waits_does_not_hold_it(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    meeting_id = scene.meeting(scene.user(), policy={"idle_timeout_minutes": 10, "require_waiting_room": True})
    endless = scene.meeting(scene.user())
    clock.pass_(minutes=9)
    wanda = scene.join(meeting_id, scene.user()).participant
    clock.pass_(minutes=1)
    assert end_idle(bench) == 1
    assert (scene.state(meeting_id).status, scene.state(endless).status) == ("completed", "in_progress")
    assert '"action":"ended"' in scene.events(personal_stream(wanda.id))[-1].data


# --- all of them


def test_a_meeting_that_cannot_be_seen_to_does_not_keep_the_others_waiting_and_pages_are_all_read(
    bench: Runtime, scene: Scene, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(unattended, "PAGE", 2)
    ids = [scene.meeting(scene.user(), policy={"idle_timeout_minutes": 1}) for _ in range(5)]
    clock.pass_(minutes=1)
    really = meetings.end

    def end(tx: Any, meeting_id: str, actor_id: str | None) -> Any:
        if meeting_id == ids[0]:
            raise RuntimeError("a bug")
        return really(tx, meeting_id, actor_id)

    monkeypatch.setattr(meetings, "end", end)
    assert end_idle(bench) == 4
    monkeypatch.setattr(meetings, "end", really)
    assert end_idle(bench) == 1
    assert {scene.state(one).status for one in ids} == {"completed"}
