"""Streams, acknowledgements and what each type of frame does (contract 11), seen by a second client."""

import json
from typing import Any

import pytest

from dev.websocket_client import Socket
from tests.e2e.room import Json, Room, ask, at_once, chats, furnish, hear, numbers, quiet
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def room(stack: Stack) -> Room:
    """A meeting with Ada, who hosts, Bob and Cid."""
    return furnish(stack, "Ada", "Bob", "Cid")


def test_p1_each_stream_counts_without_a_hole_and_everybody_hears_the_same(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob", "Cid")
    sockets = [room.open(who) for who in range(3)]
    start = sockets[0].welcome["data"]["cursors"]["meeting"]

    def speak(who: int) -> list[Json]:
        return [sockets[who].request("chat", {"content": f"{who}-{n}"}, f"{who}-{n}") for n in range(15)]

    acks = [ack for spoken in at_once(3, speak) for ack in spoken]
    assert {ack["type"] for ack in acks} == {"ack"}
    wanted = list(range(start + 1, start + 46))
    assert sorted(ack["seq"] for ack in acks) == wanted
    for socket in sockets:
        with socket:
            frames = socket.drain()
            heard = [f for f in frames if f["type"] == "chat"]
            assert numbers(frames)[:45] == wanted
            assert {f["data"]["content"]: f["seq"] for f in heard} == {a["id"]: a["seq"] for a in acks}


def test_p3_an_ack_comes_when_the_event_is_in_the_ledger_and_names_its_place(room: Room) -> None:
    with room.open(1) as his:
        ack = his.request("chat", {"content": "durable"}, "d1")
        assert set(ack) == {"type", "id", "stream", "seq"}
        assert (ack["type"], ack["id"], ack["stream"]) == ("ack", "d1", "meeting")
        kept = room.events(0, ack["seq"] - 1)[0]
        assert (kept["seq"], kept["data"]["content"]) == (ack["seq"], "durable")


def test_every_event_of_the_meeting_reaches_the_one_who_caused_it_too(room: Room) -> None:
    with room.open(1) as his:
        seq = ask(his, "chat", {"content": "echo"})["seq"]
        mine = hear(his, "echo")
        assert set(mine) == {"type", "meeting_id", "user_id", "data", "timestamp", "stream", "seq"}
        assert (mine["seq"], mine["user_id"]) == (seq, room.seats[1]["user_id"])
        assert mine["timestamp"].endswith("Z")


@pytest.mark.parametrize("frame_id", ["again", 7, "ü" * 64])
def test_p4_a_frame_sent_again_with_its_id_is_one_message_also_on_another_connection(
    stack: Stack, frame_id: Any
) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(0) as hers:
        with room.open(1) as his:
            first = his.request("chat", {"content": "once"}, frame_id)
            assert his.request("chat", {"content": "once"}, frame_id) == first
        with room.open(1) as again:
            assert again.request("chat", {"content": "once"}, frame_id) == first
            reused = again.request("chat", {"content": "twice"}, frame_id)
            assert (reused["type"], reused["code"]) == ("error", "IDEMPOTENCY_KEY_REUSED")
        assert hers.request("chat", {"content": "mine"}, frame_id)["type"] == "ack"  # ids are each person's own
        assert chats(hers.drain()) == ["once", "mine"]


def test_p4_the_same_id_on_five_connections_at_once_is_one_message(room: Room) -> None:
    sockets = [room.open(1) for _ in range(5)]
    with room.open(0) as hers:
        answers = at_once(5, lambda n: sockets[n].request("chat", {"content": "burst"}, "burst"))
        places = {a.get("seq") for a in answers if a["type"] == "ack"}
        assert len(places) == 1
        assert {a["code"] for a in answers if a["type"] == "error"} <= {"IDEMPOTENCY_IN_PROGRESS"}
        assert chats(hers.drain()).count("burst") == 1
    for socket in sockets:
        socket.close()


def test_chat_comes_in_at_both_doors_and_goes_out_at_both(room: Room) -> None:
    with room.open(0) as hers, room.open(1) as his:
        over_http = room.say(0, "from REST")
        assert hear(his, "from REST")["seq"] == over_http["seq"]
        ack = ask(his, "chat", {"content": "from a socket", "message_type": "text"})
        heard = hear(hers, "from a socket")
        history = room.people[0].get(room.path(f"/chat?after_seq={ack['seq'] - 1}")).data
        assert [(m["content"], m["seq"], m["message_id"]) for m in history] == [
            ("from a socket", ack["seq"], heard["data"]["message_id"])
        ]


def test_p21_a_private_message_is_heard_by_the_two_and_shows_in_no_number_of_others(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob", "Cid", "Dan")
    with room.open(0) as host, room.open(1) as bob, room.open(2) as cid, room.open(3) as dan:
        ack = ask(bob, "chat", {"content": "psst", "recipient_id": room.id_of(2)})
        assert (ack["stream"], ack["seq"]) == ("me", 1)
        over_http = room.say(2, "yes?", recipient_id=room.id_of(1))
        assert (over_http["stream"], over_http["seq"], over_http["is_private"]) == ("me", 2, True)
        public = ask(bob, "chat", {"content": "aloud"})
        for socket in (bob, cid):
            frames = socket.drain()
            assert [(f["stream"], f["seq"]) for f in frames if f["type"] == "chat"] == [
                ("me", 1),
                ("me", 2),
                ("meeting", public["seq"]),
            ]
        for socket in (host, dan):
            frames = socket.drain()
            assert chats(frames) == ["aloud"]
            everything = str(frames)
            assert "psst" not in everything
            assert {f["stream"] for f in frames} == {"meeting"}
            seqs = numbers(frames)
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_s19_a_private_message_to_somebody_of_another_meeting_is_refused_and_unheard(stack: Stack, room: Room) -> None:
    other = furnish(stack, "Eve")
    with other.open(0) as hers, room.open(1) as his:
        refused = ask(his, "chat", {"content": "psst", "recipient_id": other.id_of(0)})
        assert (refused["type"], refused["code"]) == ("error", "PARTICIPANT_NOT_FOUND")
        assert quiet(hers.drain()) == []
        assert ask(his, "chat", {"content": "psst", "recipient_id": room.id_of(2)})["type"] == "ack"


@pytest.mark.parametrize(
    ("type_", "data"),
    [("typing", {"is_typing": True}), ("typing", {"is_typing": False}), ("reaction", {"reaction_type": "clap"})],
)
def test_what_is_not_kept_is_heard_by_all_with_null_stream_and_seq(room: Room, type_: str, data: Json) -> None:
    with room.open(0) as hers, room.open(1) as his:
        head = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
        ack = ask(his, type_, data)
        assert (ack["type"], ack["stream"], ack["seq"]) == ("ack", None, None)
        for socket in (hers, his):
            heard = socket.until(type_)
            assert (heard["stream"], heard["seq"], heard["user_id"]) == (None, None, room.seats[1]["user_id"])
            assert heard["data"] == {**heard["data"], **data, "participant_id": room.id_of(1)}
        assert room.people[0].get(room.path("/status")).data["cursors"]["meeting"] == head


def test_a_ping_is_answered_by_a_pong_that_only_its_sender_hears(room: Room) -> None:
    with room.open(0) as hers, room.open(1) as his:
        hers.drain(0.2)
        his.send_text('{"type":"ping"}')
        pong = his.until("pong")
        assert (pong["stream"], pong["seq"], pong["data"]) == (None, None, {})
        assert his.request("ping", {}, "p1") == {"type": "ack", "id": "p1", "stream": None, "seq": None}
        assert quiet(hers.drain()) == []


@pytest.mark.parametrize(
    ("type_", "data", "heard_as"),
    [
        ("participant_update", {"is_muted": True}, "participant_update"),
        ("participant_update", {"is_video_enabled": False, "is_muted": False}, "participant_update"),
        ("hand_raise", {"is_hand_raised": True}, "hand_raise"),
        ("hand_raise", {"is_hand_raised": False}, "hand_raise"),
        ("screen_share", {"is_screen_sharing": True}, "screen_share"),
        ("screen_share", {"is_screen_sharing": False}, "screen_share"),
    ],
)
def test_flags_set_over_the_socket_are_kept_and_heard(room: Room, type_: str, data: Json, heard_as: str) -> None:
    with room.open(0) as hers, room.open(1) as his:
        ack = ask(his, type_, data)
        heard = hers.until(heard_as)
        assert (heard["stream"], heard["seq"], heard["user_id"]) == ("meeting", ack["seq"], room.seats[1]["user_id"])
        assert heard["data"] == {**heard["data"], **data, "participant_id": room.id_of(1)}
    listed = room.people[0].get(room.path("/participants")).data
    mine = next(p for p in listed if p["participant_id"] == room.id_of(1))
    assert mine == {**mine, **data}


@pytest.mark.parametrize(
    ("policy", "type_", "data", "code"),
    [
        ({"chat_permissions": "none"}, "chat", {"content": "x"}, "CHAT_DISABLED"),
        ({"chat_permissions": "host"}, "typing", {"is_typing": True}, "CHAT_DISABLED"),
        ({"enable_reactions": False}, "reaction", {"reaction_type": "clap"}, "REACTIONS_DISABLED"),
        ({"enable_hand_raise": False}, "hand_raise", {"is_hand_raised": True}, "HAND_RAISE_DISABLED"),
        ({"screen_share_permissions": "host"}, "screen_share", {"is_screen_sharing": True}, "SCREEN_SHARE_DISABLED"),
    ],
)
def test_s96_what_the_policy_forbids_is_forbidden_on_the_socket_too(
    stack: Stack, policy: Json, type_: str, data: Json, code: str
) -> None:
    room = furnish(stack, "Ada", "Bob", policy=policy)
    with room.open(0) as hers, room.open(1) as his:
        refused = ask(his, type_, data)
        assert (refused["type"], refused["code"]) == ("error", code)
        assert ask(his, "participant_update", {"is_muted": True})["type"] == "ack"
        assert [f["type"] for f in hers.drain() if f["stream"] != "hosts"] == ["participant_update"]


def test_s68_s76_who_sends_is_what_the_server_knows_and_not_what_the_frame_says(room: Room) -> None:
    lies = {"user_id": room.seats[0]["user_id"], "sender_id": room.id_of(0), "seq": 1, "timestamp": "2020-01-01"}
    with room.open(0) as hers, room.open(1) as his:
        for name, lie in lies.items():
            inside = ask(his, "chat", {"content": "spoof", name: lie})
            assert (inside["code"], list(inside["details"])) == ("VALIDATION_ERROR", [name])
            his.send_text(json.dumps({"type": "chat", "data": {"content": "spoof"}, name: lie, "id": "x"}))
            assert list(his.until("error")["details"]) == [name]
        refused = ask(his, "hand_raise", {"is_hand_raised": True, "participant_id": room.id_of(0)})
        assert refused["code"] == "VALIDATION_ERROR"
        assert quiet(hers.drain()) == []
        assert ask(his, "chat", {"content": "truly mine"})["type"] == "ack"
        assert hear(hers, "truly mine")["data"]["sender_id"] == room.id_of(1)


def test_an_attendee_hears_no_stream_of_the_hosts(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob", policy={"require_waiting_room": False})
    waiter = stack.person("Wes")
    with room.open(0) as hers, room.open(1) as his:
        # Nothing but the hosts' stream tells of somebody who waits.
        guarded = furnish(stack, "Gia", policy={"require_waiting_room": True})
        with guarded.open(0) as host:
            assert waiter.post(guarded.path("/join")).status == 202
            asked = host.until("waiting_room")
            assert (asked["stream"], asked["seq"]) == ("hosts", 1)
        assert (quiet(hers.drain()), quiet(his.drain(0.1))) == ([], [])


def test_somebody_in_two_tabs_hears_everything_in_both(room: Room) -> None:
    with room.open(1) as one, room.open(1) as two:
        ack = ask(one, "chat", {"content": "both tabs"})
        assert [hear(s, "both tabs")["seq"] for s in (one, two)] == [ack["seq"]] * 2


def test_a_socket_opened_without_since_hears_nothing_old(room: Room) -> None:
    room.say(0, "before")
    with room.open(1) as his:
        assert isinstance(his, Socket)
        room.say(0, "after")
        hear(his, "after")
    with room.open(1) as his:
        assert chats(his.drain()) == []
