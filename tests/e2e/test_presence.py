"""Presence (P9, contract 11): who cannot be heard is reconnecting, then gone; who comes back in time was never away."""

import time
from collections.abc import Iterator

import pytest

from dev.process import kill_session
from dev.websocket_client import Socket
from shared.core.settings import Settings
from shared.realtime.presence import LEASE_SECONDS
from tests.e2e.room import Json, Room, ask, chats, furnish, hear, installation, numbers
from tests.stack import Stack

pytestmark = pytest.mark.timeout(120)

TIMEOUT, GRACE = 2.0, 3.0
SLACK = 5.0  # of a machine that does other things too


@pytest.fixture(scope="module")
def brief(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two web processes, worker and beat of an installation whose patience is short."""
    directory = tmp_path_factory.mktemp("brief")
    figures = {"heartbeat_interval": 0.5, "heartbeat_timeout": TIMEOUT, "presence_grace": GRACE}
    with installation(settings, directory, **figures) as (ours, _), Stack(ours, directory, webs=2) as running:
        yield running


def status_of(frame: Json) -> tuple[str, str]:
    """Return whom a frame about presence is about, and what it says."""
    data = frame["data"]
    return data["participant_id"], data["status"]


def listen(socket: Socket, until: float, wanted: str) -> tuple[list[Json], float]:
    """Read until a frame of that type came or the time is over; return all, and when the last one came."""
    frames: list[Json] = []
    while time.monotonic() < until:
        try:
            frames.append(socket.receive(0.5))
        except TimeoutError:
            continue
        if frames[-1]["type"] == wanted:
            return frames, time.monotonic()
    raise AssertionError(f"no {wanted} in {[f['type'] for f in frames]}")


def test_p9_a_silent_socket_is_closed_4408_then_its_person_is_reconnecting_and_then_left(brief: Stack) -> None:
    room = furnish(brief, "Ada", "Bob")
    with room.open(0) as hers, room.open(1) as his:
        began = time.monotonic()
        frames, at = listen(hers, began + TIMEOUT + SLACK, "connection_status")  # and meanwhile he answers no ping
        assert status_of(frames[-1]) == (room.id_of(1), "reconnecting")
        assert at - began > TIMEOUT - 0.5
        assert his.closed().code == 4408
        frames, gone = listen(hers, at + GRACE + SLACK, "leave")
        assert frames[-1]["data"] == {
            **frames[-1]["data"],
            "participant_id": room.id_of(1),
            "reason": "connection_lost",
            "status": "left",
        }
        assert gone - at > GRACE - 0.5
        assert ask(hers, "chat", {"content": "alone"})["type"] == "ack"


def test_p9_a_connection_that_breaks_makes_reconnecting_and_a_return_in_time_makes_connected(brief: Stack) -> None:
    room = furnish(brief, "Ada", "Bob")
    with room.open(0) as hers:
        his = room.open(1)
        cursor = his.welcome["data"]["cursors"]["meeting"]
        his.drop()
        assert status_of(hers.until("connection_status", 3)) == (room.id_of(1), "reconnecting")
        seq = room.say(0, "while away")["seq"]
        with room.open(1, web=1, since=f"meeting:{cursor}") as back:
            assert status_of(hers.until("connection_status", 3)) == (room.id_of(1), "connected")
            assert hear(back, "while away")["seq"] == seq
            until = time.monotonic() + GRACE + 3
            frames: list[Json] = []
            while time.monotonic() < until:
                frames += hers.drain(0.2) + back.drain(0.2)
            assert not {"leave", "join"} & {f["type"] for f in frames}


def test_one_of_two_tabs_closing_is_told_to_nobody(brief: Stack) -> None:
    room = furnish(brief, "Ada", "Bob")
    with room.open(0) as hers, room.open(1) as one:
        two = room.open(1, web=1)
        two.close()
        assert hers.drain(0.7) == []
        one.drain(0.1)
        assert ask(one, "chat", {"content": "still one tab"})["type"] == "ack"


def test_a_waiter_who_disappears_gives_up_the_place_in_the_queue(brief: Stack) -> None:
    room = furnish(brief, "Ada", policy={"require_waiting_room": True})
    wes = brief.person("Wes")
    assert wes.post(room.path("/join")).status == 202
    with room.open(0) as hers:
        brief.socket(wes, room.meeting_id).drop()
        until = time.monotonic() + GRACE + SLACK
        frames, _ = listen(hers, until, "waiting_room")
        assert frames[-1]["data"]["action"] == "withdrawn"
        assert room.people[0].get(room.path("/status")).data["waiting_participants"] == 0


def test_p9_f2_kill_9_of_a_web_process_lets_those_go_who_do_not_come_back_and_only_those(brief: Stack) -> None:
    room: Room = furnish(brief, "Ada", "Bob", "Cid", "Dan")
    doomed = brief.start_web()
    brief.wait_until_up(doomed)
    with room.open(0) as hers:
        lost = {who: room.open(who, web=doomed) for who in (1, 2, 3)}
        cursor = lost[1].welcome["data"]["cursors"]["meeting"]
        hers.drain(0.2)
        kill_session(brief.processes[f"web{doomed}"])
        killed = time.monotonic()
        room.say(0, "after the kill")
        with room.open(1, web=1, since=f"meeting:{cursor}") as back:  # Bob resumes elsewhere; Cid and Dan do not
            hear(back, "after the kill")
            told: list[Json] = []
            while sum(f["type"] == "leave" for f in told) < 2:
                told += hers.drain(0.2)
                back.drain(0.05)  # answers pings
                assert time.monotonic() - killed < LEASE_SECONDS + 2 * 5 + GRACE + SLACK, told
            gone = {f["data"]["participant_id"] for f in told if f["type"] == "leave"}
            assert gone == {room.id_of(2), room.id_of(3)}
            assert {status_of(f) for f in told if f["type"] == "connection_status"} == {
                (room.id_of(2), "reconnecting"),
                (room.id_of(3), "reconnecting"),
            }
            assert ask(back, "chat", {"content": "never away"})["type"] == "ack"
            hear(hers, "never away")
            assert "join" not in {f["type"] for f in told}
            assert numbers(told) == sorted(numbers(told))
            assert chats(told) == ["after the kill"]
    for socket in lost.values():
        socket.drop()
