"""How sockets end (contract 11): the right code, at once, and for those concerned only."""

import time

import pytest

from dev.http_client import Api
from dev.websocket_client import Closed, Refused, Socket
from tests.e2e.room import Room, ask, at_once, chats, furnish, hear, refusal
from tests.stack import Stack
from web.http import tokens

pytestmark = pytest.mark.timeout(60)


def test_s74_p7_logging_out_closes_every_socket_of_the_session_with_4401_within_a_second(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(0) as hers, room.open(1) as one, room.open(1) as two:
        assert room.people[1].post("/auth/logout").status == 200
        began = time.monotonic()
        for socket in (one, two):
            assert socket.closed(2).code == 4401
        assert time.monotonic() - began < 1.0
        assert refusal(room, 1).answer.code == "TOKEN_REVOKED"
        assert ask(hers, "chat", {"content": "unharmed"})["type"] == "ack"
        hear(hers, "unharmed")


def test_another_session_of_the_same_person_stays_open(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    bob = room.people[1]
    email = bob.get("/auth/me").data["email"]
    phone = Api(stack.url)
    phone.token = phone.post("/auth/login", {"email": email, "password": "correct horse battery"}).data["access_token"]
    with room.open(1) as desk, stack.socket(phone, room.meeting_id) as pocket:
        bob.post("/auth/logout")
        assert desk.closed(2).code == 4401
        assert ask(pocket, "chat", {"content": "from my pocket"})["type"] == "ack"


def test_s74_a_token_that_expires_closes_its_socket_with_4401(stack: Stack, app) -> None:
    room = furnish(stack, "Ada", "Bob")
    with app.app_context():
        claims = tokens.read(room.people[1].token or "", "access")
        short = tokens.sign("access", claims.subject, claims.reference, 2)
    with room.open(0) as hers, Socket.open(stack.url, room.meeting_id, token=short) as his, room.open(1) as renewed:
        assert ask(his, "chat", {"content": "while it lasts"})["type"] == "ack"
        assert his.closed(5).code == 4401
        assert ask(renewed, "chat", {"content": "with a new token"})["type"] == "ack"
        hear(hers, "with a new token")


def test_p7_the_end_of_a_meeting_is_told_and_closes_every_socket_with_4510(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    bystander = furnish(stack, "Eve")
    with room.open(0) as hers, room.open(1) as his, bystander.open(0) as elsewhere:
        room.people[0].post(room.path("/end"))
        began = time.monotonic()
        for socket in (hers, his):
            told = socket.until("meeting_status")
            assert (told["data"]["action"], told["data"]["status"]) == ("ended", "completed")
            assert socket.closed(2).code == 4510
        assert time.monotonic() - began < 1.0
        assert refusal(room, 1).answer.status == 410
        assert ask(elsewhere, "chat", {"content": "another meeting"})["type"] == "ack"
    left = room.people[0].get(room.path("/participants")).data
    assert {p["status"] for p in left} == {"left"}


@pytest.mark.parametrize("round_", range(4))
def test_p7_s52_nobody_who_connects_while_the_meeting_ends_stays_connected(stack: Stack, round_: int) -> None:
    room = furnish(stack, "Ada", "Bob")
    ends_after = 0.005 + 0.015 * round_

    def work(index: int) -> int:
        if index == 0:
            time.sleep(ends_after)
            return room.people[0].post(room.path("/end")).status
        time.sleep(0.003 * index)
        try:
            with room.open(1) as socket:
                return socket.closed(5).code
        except Refused as refused:
            return refused.answer.status
        except Closed as closed:
            return closed.code

    ended, *fates = at_once(9, work)
    assert ended == 200
    assert set(fates) <= {4510, 410, 4429}, fates  # 4429: more than five at once, the oldest go
    assert {4510, 410} & set(fates)


def test_leaving_closes_ones_own_sockets_and_no_other(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(0) as hers, room.open(1) as one, room.open(1) as two:
        room.people[1].post(room.path("/leave"))
        left = hers.until("leave")
        assert (left["data"]["participant_id"], left["data"]["reason"]) == (room.id_of(1), "left")
        for socket in (one, two):
            socket.until("leave")
            assert socket.closed(2).code == 1000
        assert ask(hers, "chat", {"content": "alone"})["type"] == "ack"


@pytest.mark.parametrize("round_", range(3))
def test_s33b_nobody_who_connects_while_leaving_stays_connected(stack: Stack, round_: int) -> None:
    room = furnish(stack, "Ada", "Bob")

    def work(index: int) -> int:
        if index == 0:
            time.sleep(0.004 * round_ + 0.004)
            return room.people[1].post(room.path("/leave")).status
        try:
            with stack.socket(Api(stack.url, room.people[1].token), room.meeting_id) as socket:
                return socket.closed(5).code
        except Refused as refused:
            return refused.answer.status
        except Closed as closed:
            return closed.code

    assert set(at_once(5, work)) <= {200, 1000, 403}


def test_s36_s37_a_waiter_hears_only_its_own_stream_and_the_end(stack: Stack) -> None:
    room = furnish(stack, "Ada", policy={"require_waiting_room": True})
    wes = stack.person("Wes")
    seat = wes.post(room.path("/join"))
    assert (seat.status, seat.code) == (202, "WAITING_ROOM_REQUIRED")
    stranger = refusal(room, None, token=wes.token, since="meeting:0")
    assert stranger.answer.status == 422
    with room.open(0) as hers, stack.socket(wes, room.meeting_id) as his:
        assert set(his.welcome["data"]["cursors"]) == {"me"}
        room.say(0, "behind the door")
        assert ask(hers, "reaction", {"reaction_type": "clap"})["type"] == "ack"
        hear(hers, "behind the door")
        for type_, data in (
            ("chat", {"content": "let me in"}),
            ("typing", {"is_typing": True}),
            ("reaction", {"reaction_type": "wave"}),
            ("hand_raise", {"is_hand_raised": True}),
            ("participant_update", {"is_muted": True}),
        ):
            assert ask(his, type_, data)["code"] == "INSUFFICIENT_PERMISSION"
        assert his.drain() == []
        assert [f["type"] for f in hers.drain(0.1)] == ["reaction"]
        room.people[0].post(room.path("/end"))
        told = his.until("meeting_status")
        assert (told["stream"], told["seq"], told["data"]["action"]) == ("me", 1, "ended")
        assert his.closed(2).code == 4510
        assert hers.closed(2).code == 4510
    assert chats(hers.drain(0.1)) == []


def test_s48_the_sixth_socket_of_a_person_closes_the_first(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(0) as hers:
        sockets = [room.open(1) for _ in range(5)]
        for socket in sockets:
            assert ask(socket, "ping")["type"] == "ack"
        with room.open(1) as sixth:
            assert sockets[0].closed(3).code == 4429
            for socket in [*sockets[1:], sixth]:
                assert ask(socket, "ping")["type"] == "ack"
        assert "leave" not in {f["type"] for f in hers.drain(0.2)}
        assert sum(p["status"] == "joined" for p in room.people[0].get(room.path("/participants")).data) == 2
        for socket in sockets:
            socket.close()


def test_a_cursor_survives_its_socket(stack: Stack) -> None:
    room: Room = furnish(stack, "Ada", "Bob")
    his = room.open(1)
    his.send_bytes(b"\x81\x02hi")
    assert his.closed().code == 1002
    seq = room.say(0, "meanwhile")["seq"]
    with room.open(1, since=f"meeting:{seq - 1}") as back:
        hear(back, "meanwhile")
