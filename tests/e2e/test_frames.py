"""Frames that are not as they should be (S71 to S85): an error or a close code, and nobody else notices."""

import json
import os
import struct
from typing import Any

import pytest

from dev.websocket_client import Socket
from tests.e2e.room import Room, ask, chats, furnish, hear, quiet
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def room(stack: Stack) -> Room:
    """A meeting with Ada, who hosts, and Bob, who misbehaves."""
    return furnish(stack, "Ada", "Bob")


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, size: int | None = None) -> bytes:
    """Return a client frame, as RFC 6455 wants it but for what is asked; `size` states another length."""
    stated = len(payload) if size is None else size
    first = fin << 7 | rsv << 4 | opcode
    if stated < 126:
        header = struct.pack("!BB", first, 0x80 | stated)
    elif stated < 65_536:
        header = struct.pack("!BBH", first, 0x80 | 126, stated)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, stated)
    return header + b"\0\0\0\0" + payload


def chat(content: str, **more: Any) -> str:
    """Return a chat frame as text."""
    return json.dumps({"type": "chat", "data": {"content": content, **more}})


REFUSED = {
    "S79 a type given twice": '{"type":"ping","type":"kick","data":{}}',
    "S79 an escaped key given twice": '{"type":"ping","\\u0074ype":"ping","data":{}}',
    "S79 data given twice": '{"type":"chat","data":{"content":"a"},"data":{"content":"b"}}',
    "S79 a key given twice deep inside": '{"type":"chat","data":{"content":"a","content":"b"}}',
    "S79 a key in another case": '{"Type":"ping","data":{}}',
    "S80 chat without data": '{"type":"chat"}',
    "S80 chat with null": '{"type":"chat","data":null}',
    "S80 chat with a list": '{"type":"chat","data":[]}',
    "S80 chat with a number": '{"type":"chat","data":1}',
    "S80 chat with a string": '{"type":"chat","data":"hello"}',
    "S80 chat with true": '{"type":"chat","data":true}',
    "S80 a list": "[]",
    "S80 an empty string": '""',
    "S80 null": "null",
    "S80 no type": '{"data":{}}',
    "S80 a type that is none": '{"type":7,"data":{}}',
    "S80 an unknown type": '{"type":"kick","data":{}}',
    "S80 a server's type": '{"type":"welcome","data":{}}',
    "S80 a ping with data": '{"type":"ping","data":{"x":1}}',
    "S64 a captions frame": '{"type":"captions","data":{"text":"x"}}',
    "S81 an id in braces": chat("x", recipient_id="{01ARZ3NDEKTSV4RRFFQ69G5FAV}"),
    "S81 an id of emoji": chat("x", recipient_id="😀"),
    "S81 an id with NUL": '{"type":"chat","data":{"content":"x","recipient_id":"\\u0000"}}',
    "S81 a path as id": chat("x", recipient_id="../../etc/passwd"),
    "S81 an id of 10 kB": chat("x", recipient_id="a" * 10_000),
    "S81 a negative id": chat("x", recipient_id=-1),
    "S81 an id beyond 64 bits": chat("x", reply_to=2**63),
    "S81 a fraction as id": chat("x", reply_to=1.5),
    "S81 an unknown reply_to": chat("x", reply_to="01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    "S81 a frame id of true": '{"type":"ping","data":{},"id":true}',
    "S81 a frame id of null": '{"type":"ping","data":{},"id":null}',
    "S81 an empty frame id": '{"type":"ping","data":{},"id":""}',
    "S81 a long frame id": '{"type":"ping","data":{},"id":"' + "x" * 65 + '"}',
    "S81 a fraction as frame id": '{"type":"ping","data":{},"id":1.5}',
    "S82 100 nested lists": '{"type":"chat","data":{"content":' + "[" * 100 + "]" * 100 + "}}",
    "S82 30,000 nested lists": "[" * 30_000 + "]" * 30_000,
    "S82 an integer of 5,000 digits": '{"type":"chat","data":{"content":' + "9" * 5000 + "}}",
    "S84 NaN": '{"type":"chat","data":{"content":NaN}}',
    "S84 Infinity": '{"type":"chat","data":{"content":Infinity}}',
    "S84 minus Infinity": '{"type":"chat","data":{"content":-Infinity}}',
    "S84 1e999": '{"type":"chat","data":{"content":1e999}}',
    "S84 a lone surrogate": '{"type":"chat","data":{"content":"\\ud800"}}',
    "S84 NUL": '{"type":"chat","data":{"content":"a\\u0000b"}}',
    "S84 2**53 + 1": '{"type":"chat","data":{"content":9007199254740993}}',
    "S85 __proto__": '{"type":"chat","data":{"content":"x","__proto__":{"a":1}}}',
    "S85 constructor": '{"type":"chat","data":{"content":"x"},"constructor":{}}',
    "S85 $where": '{"type":"chat","data":{"content":"x","$where":"1"}}',
    "S85 toString": '{"type":"chat","data":{"content":"x"},"toString":1}',
    "an empty message": chat(""),
    "a blank message": chat(" \n "),
    "a message of 4,001 characters": chat("x" * 4001),
    "an unknown message type": chat("x", message_type="html"),
    "an unknown reaction": '{"type":"reaction","data":{"reaction_type":"explode"}}',
    "a flag that is no boolean": '{"type":"hand_raise","data":{"is_hand_raised":1}}',
    "no flag at all": '{"type":"participant_update","data":{}}',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_s64_s79_to_s85_a_wrong_frame_is_answered_by_an_error_and_the_socket_stays_open(room: Room, text: str) -> None:
    with room.open(0) as hers, room.open(1) as his:
        for _ in range(4):  # also more often than malformed JSON may come
            his.send_text(text)
            error = his.until("error")
            assert set(error) == {"type", "id", "code", "message", "details"}
            assert error["code"] in ("VALIDATION_ERROR", "PARTICIPANT_NOT_FOUND", "NOT_FOUND")
        assert quiet(his.drain(0.05)) == []
        assert ask(his, "chat", {"content": "well"})["type"] == "ack"
        heard = [f for f in [hear(hers, "well"), *quiet(hers.drain(0.05))] if f["type"] != "connection_status"]
        assert chats(heard) == ["well"]


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"chat","data":{"content":NaN},"id":"n1"}',
        '{"type":"chat","data":{"content":"a","content":"b"},"id":"n1"}',
        '{"type":"nothing","data":{},"id":"n1"}',
        '{"type":"chat","data":{},"id":"n1"}',
        '{"type":"chat","data":{"content":"x"},"id":"n1","seq":1}',
    ],
)
def test_an_error_carries_the_id_of_the_frame_it_refuses(room: Room, text: str) -> None:
    with room.open(1) as his:
        his.send_text(text)
        error = his.until("error")
        assert (error["id"], error["code"]) == ("n1", "VALIDATION_ERROR")


def test_a_refused_frame_id_may_be_used_again_because_nothing_happened(room: Room) -> None:
    with room.open(0) as hers, room.open(1) as his:
        assert his.request("chat", {"content": ""}, "retry")["type"] == "error"
        assert his.request("chat", {"content": "second try"}, "retry")["type"] == "ack"
        hear(hers, "second try")


def test_malformed_json_three_times_closes_1007(room: Room) -> None:
    with room.open(0) as hers, room.open(1) as his:
        for text in ("{", "", '{"type":"chat",}'):
            his.send_text(text)
        assert [his.until("error")["code"] for _ in range(3)] == ["MALFORMED_JSON"] * 3
        assert his.closed().code == 1007
        with room.open(1) as again:
            for _ in range(2):
                again.send_text("nonsense")
                again.until("error")
            assert ask(again, "chat", {"content": "twice is forgiven"})["type"] == "ack"
            hear(hers, "twice is forgiven")


VIOLATIONS = {
    "S71 a message of 64 KiB and one byte": (masked(1, b" " * 65_537), 1009),
    "S71 a message that says it has 10 MB": (masked(1, size=10_000_000), 1009),
    "S71 a message that says it has 2**62 bytes": (masked(1, size=2**62), 1009),
    "S71 64 KiB and one byte in fragments": (
        masked(1, b" " * 65_000, fin=False) + masked(0, b" " * 500, fin=False) + masked(0, b" " * 37),
        1009,
    ),
    "S71 100,000 fragments of one byte": (masked(1, b"x", fin=False) + masked(0, b"x", fin=False) * 100_000, 1008),
    "S71 a ping of 126 bytes": (masked(9, b"x" * 126), 1002),
    "S71 a fragmented ping": (masked(9, b"x", fin=False), 1002),
    "S71 a continuation of nothing": (masked(0, b"x"), 1002),
    "S71 a new message inside another": (masked(1, b"x", fin=False) + masked(1, b"y"), 1002),
    "S72 an unmasked frame": (b"\x81\x02hi", 1002),
    "S72 a reserved bit": (masked(1, b"hi", rsv=4), 1002),
    "S72 an unknown opcode": (masked(3, b"hi"), 1002),
    "S72 an unknown control opcode": (masked(11), 1002),
    "S72 bad UTF-8": (masked(1, b"\xc3\x28"), 1007),
    "S72 close code 1005": (masked(8, struct.pack("!H", 1005)), 1002),
    "S72 close code 999": (masked(8, struct.pack("!H", 999)), 1002),
    "S72 half a close code": (masked(8, b"\x03"), 1002),
    "S82 a binary message": (masked(2, b"\x93\x00\x01"), 1003),
    "S82 a binary length bomb": (masked(2, size=2**40), 1003),
}


@pytest.mark.parametrize(("data", "code"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_s71_s72_s82_what_breaks_rfc_6455_is_closed_with_its_code_and_harms_nobody(
    room: Room, data: bytes, code: int
) -> None:
    with room.open(0) as hers, room.open(1) as his, room.open(1) as other_tab:
        his.send_bytes(masked(1, chat("just before").encode()) + data[:200_000])
        assert his.closed().code == code
        hear(hers, "just before")  # what was whole before the violation counts
        assert ask(other_tab, "chat", {"content": "unharmed"})["type"] == "ack"
        hear(hers, "unharmed")


def test_s71_the_largest_message_is_taken_in_one_piece_and_in_many(room: Room) -> None:
    text = chat("x" * 4000)
    padded = (text[:-1] + " " * (65_536 - len(text)) + "}").encode()
    with room.open(0) as hers, room.open(1) as his:
        his.send_bytes(masked(1, padded))
        hers.until("chat")
        pieces = [padded[at : at + 100] for at in range(0, len(padded), 100)]
        frames = [masked(1 if not n else 0, piece, fin=n == len(pieces) - 1) for n, piece in enumerate(pieces)]
        frames.insert(3, masked(9, b"in between"))
        stream = b"".join(frames)
        for at in range(0, len(stream), 1777):  # cut anywhere
            his.send_bytes(stream[at : at + 1777])
        hers.until("chat")
        assert ask(his, "ping")["type"] == "ack"


def test_close_is_answered_by_close_and_the_line_is_cut(room: Room) -> None:
    his = room.open(1)
    his.send_bytes(masked(8, struct.pack("!H", 1000) + b"bye"))
    assert his.closed().code == 1000
    with room.open(0) as hers:
        hers.drain(0.1)
        his.drop()


def test_who_does_not_answer_the_close_is_cut_off_after_two_seconds(room: Room) -> None:
    his = room.open(1)
    his.send_bytes(b"\x81\x02hi")
    raw = his._socket
    raw.settimeout(5)
    received = b""
    while piece := raw.recv(4096):  # ends only when the server hangs up; no close frame is sent back
        received += piece
    assert struct.pack("!H", 1002) in received
    his.drop()


def test_s82_random_bytes_close_the_socket_and_harm_nobody(room: Room) -> None:
    with room.open(0) as hers:
        for _ in range(20):
            his = Socket.open(room.stack.url, room.meeting_id, token=room.people[1].token)
            his.send_bytes(os.urandom(2000))
            his.drop()
        assert ask(hers, "chat", {"content": "still here"})["type"] == "ack"
        hear(hers, "still here")
