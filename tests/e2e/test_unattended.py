"""Beat sees to meetings that nobody looks after, and everybody inside hears of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.runtime import Runtime
from tests.e2e.room import ask, furnish
from tests.factories.scene import change_place
from tests.stack import Stack

pytestmark = pytest.mark.timeout(90)
SECONDS = 10.0


def roles(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["data"]["role"] for frame in frames if frame["type"] == "participant_update"]


def test_s59_when_the_last_host_is_gone_one_other_becomes_host_and_all_hear_it_once(stack: Stack) -> None:
    rules = {"host_handover": "promote", "host_handover_minutes": 0}
    room = furnish(stack, "Hosta", "Ann", "Bob", policy=rules)
    with room.open(1) as hers, room.open(2) as his:
        room.people[0].post(room.path("/leave"))
        own = hers.until(lambda f: f["type"] == "participant_update" and f["stream"] == "me", SECONDS)
        assert (own["data"]["role"], own["user_id"]) == ("host", None)
        told = his.until("participant_update", SECONDS)
        assert (told["data"]["participant_id"], told["data"]["role"]) == (room.id_of(1), "host")
        assert room.people[1].post(room.path(f"/participants/{room.id_of(2)}/remove"), {}).status == 200
        assert his.closed(2).code == 4503
        back = room.people[0].post(room.path("/join")).data
        assert back["role"] == "host"
        hers.until("join", SECONDS)
        assert roles(hers.heard) == ["host", "host"]  # to all, and to herself
        assert roles(his.heard) == ["host"]


def test_a_meeting_can_end_with_its_last_host(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", policy={"host_handover": "end", "host_handover_minutes": 0})
    with room.open(1) as hers:
        room.people[0].post(room.path("/leave"))
        ended = hers.until("meeting_status", SECONDS)
        assert (ended["data"]["action"], ended["user_id"]) == ("ended", None)
        assert hers.closed(2).code == 4510


def test_who_waits_for_too_long_is_told_and_so_are_hosts(stack: Stack, runtime: Runtime) -> None:
    held = {"require_waiting_room": True, "waiting_room_timeout_minutes": 1}
    room = furnish(stack, "Hosta", policy=held)
    waiter = stack.person("Wanda")
    id_ = waiter.post(room.path("/join")).data["participant_id"]
    with room.open(0) as hers, stack.socket(waiter, room.meeting_id) as his:
        change_place(runtime, id_, waiting_since=datetime.now(UTC) - timedelta(minutes=1))
        message = his.until(lambda f: f["type"] == "waiting_room" and f["data"]["action"] == "message", SECONDS)
        assert message["data"]["text"] == "Nobody has answered yet."
        overdue = hers.until(lambda f: f["type"] == "waiting_room" and f["data"]["action"] == "overdue", SECONDS)
        assert (overdue["stream"], overdue["data"]["participant_id"]) == ("hosts", id_)


def test_who_waits_for_too_long_can_be_turned_away(stack: Stack, runtime: Runtime) -> None:
    held = {"require_waiting_room": True, "waiting_room_timeout_minutes": 1, "waiting_room_escalation": "close"}
    room = furnish(stack, "Hosta", policy=held)
    waiter = stack.person("Wanda")
    id_ = waiter.post(room.path("/join")).data["participant_id"]
    with stack.socket(waiter, room.meeting_id) as his:
        change_place(runtime, id_, waiting_since=datetime.now(UTC) - timedelta(minutes=1))
        denied = his.until(lambda f: f["type"] == "waiting_room" and f["data"]["action"] == "denied", SECONDS)
        assert denied["data"]["reason"] == "Nobody has answered."
        assert his.closed(2).code == 4503
    assert waiter.post(room.path("/join")).status == 202


def test_cameras_that_are_switched_off_stay_off_for_frames_too(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann")
    with room.open(1) as hers:
        room.people[0].patch(room.path("/security/policy"), {"disable_camera": True})
        told = hers.until("participant_update", SECONDS)
        assert (told["data"]["participant_id"], told["data"]["is_video_enabled"]) == (room.id_of(1), False)
        refused = ask(hers, "participant_update", {"is_video_enabled": True})
        assert (refused["code"], refused["details"]["rule"]) == ("INSUFFICIENT_PERMISSION", "disable_camera")
