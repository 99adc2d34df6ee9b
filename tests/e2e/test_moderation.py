"""What hosts decide reaches open sockets at once: who is let in hears, who is put out hears no more (contract 4, 5)."""

import time
from typing import Any

import pytest

from dev.http_client import Api
from dev.websocket_client import Socket
from tests.e2e.room import Room, ask, furnish, hear, numbers, refusal
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)

HELD: dict[str, Any] = {"policy": {"require_waiting_room": True}}
SECOND = 1.0


def wait(room: Room, name: str) -> tuple[Api, str]:
    """Return somebody new who waits in front of the room, and the participant id."""
    person = room.stack.person(name)
    answer = person.post(room.path("/join"))
    assert answer.status == 202
    return person, str(answer.data["participant_id"])


def action(socket: Socket, wanted: str, seconds: float = 5.0) -> dict[str, Any]:
    """Return the waiting room's event with that action."""
    frame = socket.until(lambda f: f["type"] == "waiting_room" and f["data"]["action"] == wanted, seconds)
    return dict(frame)


def test_s37_a_waiter_hears_nothing_until_admitted_and_then_all_from_there_on(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", **HELD)
    waiter, id_ = wait(room, "Wanda")
    with room.open(0) as hers, stack.socket(waiter, room.meeting_id) as his:
        assert set(his.welcome["data"]["cursors"]) == {"me"}
        room.say(0, "a secret")
        assert ask(his, "chat", {"content": "let me in"})["code"] == "INSUFFICIENT_PERMISSION"
        assert waiter.post(room.path("/token")).status in (403, 404)
        room.people[0].post(room.path("/waiting-room/message"), {"text": "soon"})
        assert action(his, "message")["data"]["text"] == "soon"
        room.people[0].post(room.path("/waiting-room/admit"), {"participant_ids": [id_]})
        admitted = action(his, "admitted")
        assert admitted["stream"] == "me"
        room.say(0, "welcome")
        heard = hear(his, "welcome")
        first = admitted["data"]["cursors"]["meeting"] + 1
        assert first <= heard["seq"]
        assert ask(his, "chat", {"content": "thank you"})["type"] == "ack"
        hear(his, "thank you")
        hear(hers, "thank you")
        frames = [frame for frame in his.heard if frame["type"] != "ack" and frame.get("stream") == "meeting"]
        assert "a secret" not in str(frames)
        assert numbers(frames) == list(range(first, first + len(frames)))


def test_those_behind_move_up_and_who_is_denied_is_closed_4503(stack: Stack) -> None:
    room = furnish(stack, "Hosta", **HELD)
    (first, first_id), (second, _) = wait(room, "One"), wait(room, "Two")
    with stack.socket(first, room.meeting_id) as one, stack.socket(second, room.meeting_id) as two:
        room.people[0].post(room.path("/waiting-room/deny"), {"participant_ids": [first_id], "reason": "full"})
        assert action(one, "denied")["data"]["reason"] == "full"
        assert one.closed(2).code == 4503
        assert action(two, "position")["data"]["position"] == 1
    answer = refusal(room, None, token=first.token).answer
    assert (answer.status, answer.code) == (404, "MEETING_NOT_FOUND")


def test_p7_who_is_removed_hears_no_more_within_a_second(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", "Bob")
    with room.open(0) as hers, room.open(1) as one, room.open(1) as two, room.open(2) as bystander:
        began = time.monotonic()
        room.people[0].post(room.path(f"/participants/{room.id_of(1)}/remove"), {"ban": True})
        for socket in (one, two):
            assert socket.closed(2).code == 4503
        assert time.monotonic() - began < SECOND
        told = hers.until("leave")["data"]
        assert (told["participant_id"], told["status"], told["reason"]) == (room.id_of(1), "removed", "banned")
        room.say(0, "gone")
        hear(bystander, "gone")
        assert "gone" not in str(one.heard)
    assert refusal(room, 1).answer.status == 404


def test_s33b_a_promotion_opens_the_hosts_stream_and_a_demotion_shuts_it(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", **HELD)
    room.people[0].post(room.path("/waiting-room/admit"), {"all": True})
    ann = room.path(f"/participants/{room.id_of(1)}")
    with room.open(0) as hers, room.open(1) as his:
        room.people[0].patch(ann, {"role": "co-host"})
        told = his.until(lambda f: f["type"] == "participant_update" and f["stream"] == "me")
        assert told["data"]["role"] == "co-host"
        time.sleep(0.3)
        wait(room, "One")
        waiting = action(his, "waiting")
        assert (waiting["stream"], waiting["seq"]) == ("hosts", told["data"]["cursors"]["hosts"] + 1)
        room.people[0].patch(ann, {"role": "attendee"})
        his.until(lambda f: f["type"] == "participant_update" and f["data"]["role"] == "attendee" and f["seq"])
        wait(room, "Two")
        action(hers, "waiting")
        room.say(0, "after")
        hear(his, "after")
        assert len([frame for frame in his.heard if frame.get("stream") == "hosts"]) == 1


def test_s38_who_is_sent_back_hears_the_meeting_no_more_on_the_same_socket(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann")
    with room.open(0), room.open(1) as his:
        room.people[0].post(room.path(f"/participants/{room.id_of(1)}/send-to-waiting-room"))
        assert action(his, "waiting")["data"]["position"] == 1
        room.say(0, "behind your back")
        assert ask(his, "chat", {"content": "hello?"})["code"] == "INSUFFICIENT_PERMISSION"
        assert ask(his, "reaction", {"reaction_type": "wave"})["code"] == "INSUFFICIENT_PERMISSION"
        room.people[0].post(room.path("/waiting-room/admit"), {"all": True})
        action(his, "admitted")
        room.say(0, "back")
        hear(his, "back")
        assert "behind your back" not in str(his.heard)


def test_p7_a_rule_holds_for_frames_within_a_second(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann")
    with room.open(1) as his:
        assert ask(his, "reaction", {"reaction_type": "wave"})["type"] == "ack"
        assert ask(his, "typing", {"is_typing": True})["type"] == "ack"
        rules = {"enable_reactions": False, "chat_permissions": "host"}
        room.people[0].patch(room.path("/security/policy"), rules)
        told = his.until("policy")
        assert (told["data"]["version"], told["data"]["changed"]) == (2, sorted(rules))
        assert ask(his, "reaction", {"reaction_type": "wave"})["code"] == "REACTIONS_DISABLED"
        assert ask(his, "typing", {"is_typing": True})["code"] == "CHAT_DISABLED"
        assert ask(his, "chat", {"content": "hello?"})["code"] == "CHAT_DISABLED"
        room.people[0].patch(room.path("/security/policy"), dict.fromkeys(["enable_reactions"], True))
        his.until("policy")
        assert ask(his, "reaction", {"reaction_type": "wave"})["type"] == "ack"


def test_p7_the_chat_taken_from_one_person_is_taken_from_typing_too(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", "Bob")
    with room.open(1) as his, room.open(2) as other:
        assert ask(his, "typing", {"is_typing": True})["type"] == "ack"
        room.people[0].patch(room.path(f"/participants/{room.id_of(1)}"), {"can_chat": False})
        his.until("participant_update")
        assert ask(his, "typing", {"is_typing": True})["code"] == "CHAT_DISABLED"
        assert ask(other, "typing", {"is_typing": True})["type"] == "ack"


def test_a_waiter_who_asks_again_when_the_room_is_open_hears_the_meeting_on_the_same_socket(stack: Stack) -> None:
    room = furnish(stack, "Hosta", **HELD)
    waiter, _ = wait(room, "Wanda")
    with room.open(0) as hers, stack.socket(waiter, room.meeting_id) as his:
        room.people[0].patch(room.path("/security/policy"), {"require_waiting_room": False})
        assert waiter.post(room.path("/join")).status == 200
        assert action(his, "admitted")["data"]["cursors"]["meeting"] > 0
        assert action(hers, "admitted")["stream"] == "hosts"
        room.say(0, "welcome")
        hear(his, "welcome")


def test_a_waiter_who_goes_away_is_closed_like_anybody_who_leaves(stack: Stack) -> None:
    room = furnish(stack, "Hosta", **HELD)
    waiter, _ = wait(room, "Wanda")
    with stack.socket(waiter, room.meeting_id) as his:
        assert waiter.post(room.path("/leave")).status == 200
        assert his.closed(2).code == 1000
