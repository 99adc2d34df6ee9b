"""The handshake (contract 11): refusals are HTTP answers before the upgrade, and the rightful get in."""

import base64
import os
import socket
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update

from dev.websocket_client import Refused, Socket
from shared.core.ids import new_id
from shared.participants.tickets import tickets
from shared.runtime import Runtime
from tests.e2e.room import Room, furnish, hear, quiet, refusal
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def room(stack: Stack) -> Room:
    """A meeting with Ada, who hosts, and Bob."""
    return furnish(stack, "Ada", "Bob")


def head_of(room: Room) -> int:
    """Return where the meeting's stream stands."""
    return int(room.people[0].get(room.path("/status")).data["cursors"]["meeting"])


def test_s63_without_a_valid_credential_the_answer_is_401_before_the_upgrade(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    hers = room.open(0)
    head = hers.welcome["data"]["cursors"]["meeting"]
    jwt = room.people[1].token or ""
    for options in (
        {},
        {"token": "nonsense"},
        {"token": jwt[:-3] + "abc"},
        {"headers": {"Authorization": f"Basic {jwt}"}},
        {"headers": {"Authorization": "Bearer"}},
        {"ticket": "unknown"},
        {"ticket": ""},
        {"ticket": "x" * 4000},
    ):
        refused = refusal(room, None, **options)
        assert (refused.answer.status, refused.answer.code) == (401, "UNAUTHENTICATED"), options
        assert refused.answer.headers["www-authenticate"] == "Bearer"
    assert hers.drain() == []
    with hers, room.open(1) as his:
        assert his.request("chat", {"content": "here"})["seq"] == head + 1
        hear(hers, "here")


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "authorization", "ticket"])
def test_s63_a_jwt_in_the_query_is_refused(room: Room, name: str) -> None:
    refused = refusal(room, None, query={name: room.people[1].token or ""})
    assert (refused.answer.status, refused.answer.code) == (401, "UNAUTHENTICATED")
    room.open(1).close()


def test_s4_s5_a_refresh_token_and_a_ticket_are_no_bearer_tokens(room: Room) -> None:
    account = {"email": f"{new_id().lower()}@example.com", "name": "Eve", "password": "correct horse battery"}
    eve = room.stack.person()
    signed_in = eve.post("/auth/register", account).data
    eve.token = signed_in["access_token"]
    eve.post(room.path("/join"))
    assert refusal(room, None, token=signed_in["refresh_token"]).answer.code == "UNAUTHENTICATED"
    ticket = eve.post(room.path("/ws-ticket")).data["ticket"]
    assert refusal(room, None, token=ticket).answer.code == "UNAUTHENTICATED"
    with Socket.open(room.stack.url, room.meeting_id, ticket=ticket) as hers:
        assert hers.welcome["data"]["participant"]["user_name"] == "Eve"
    eve.post(room.path("/leave"))


def test_s7_a_revoked_token_is_refused(room: Room) -> None:
    eve = room.stack.person()
    eve.post(room.path("/join"))
    room.stack.socket(eve, room.meeting_id).close()
    assert eve.post("/auth/logout").status == 200
    assert refusal(room, None, token=eve.token).answer.code == "TOKEN_REVOKED"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "https://127.0.0.1:8000",  # the scheme differs
        "http://127.0.0.1:8001",
        "http://127.0.0.1",
        "http://127.0.0.1:8000.evil.example",
        "http://evil127.0.0.1:8000",
        "http://127.0.0.1:8000/",
        "HTTP://127.0.0.1:8000",
        "http://127.0.0.1.:8000",
    ],
)
def test_s66_a_page_of_another_origin_is_refused_with_token_and_with_ticket(room: Room, origin: str) -> None:
    ticket = room.people[1].post(room.path("/ws-ticket")).data["ticket"]
    for options in ({}, {"token": None, "ticket": ticket}):
        refused = refusal(room, 1, headers={"Origin": origin}, **options)
        assert (refused.answer.status, refused.answer.code) == (403, "INSUFFICIENT_PERMISSION")
    ours = {"Origin": room.stack.settings.base_url}
    Socket.open(room.stack.url, room.meeting_id, ticket=ticket, headers=ours).close()  # the refusal did not use it up


def test_s17_a_stranger_is_answered_404_exactly_as_for_a_random_id(room: Room) -> None:
    stranger = room.stack.person("Mallory")
    theirs = refusal(room, None, token=stranger.token).answer
    random = refusal(room, None, token=stranger.token, meeting_id=new_id()).answer
    assert (theirs.status, theirs.code) == (404, "MEETING_NOT_FOUND")
    changing = {"timestamp", "request_id"}
    assert {k: v for k, v in theirs.body.items() if k not in changing} == {
        k: v for k, v in random.body.items() if k not in changing
    }
    assert set(theirs.headers) == set(random.headers)


@pytest.mark.parametrize("meeting_id", ["x", "0" * 26, "%00", "a" * 3000, "01ARZ3NDEKTSV4RRFFQ69G5FA%27", "*"])
def test_s81_a_malformed_meeting_id_is_404(room: Room, meeting_id: str) -> None:
    assert refusal(room, 1, meeting_id=meeting_id).answer.status == 404


def test_who_is_not_inside_is_refused_403_and_enters_after_joining(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    bob = room.people[1]
    with room.open(0) as hers:
        assert bob.post(room.path("/leave")).status == 200
        hers.until("leave")
        refused = refusal(room, 1)
        assert (refused.answer.status, refused.answer.code) == (403, "INSUFFICIENT_PERMISSION")
        assert bob.post(room.path("/ws-ticket")).status == 403
        assert hers.drain() == []
        bob.post(room.path("/join"))
        room.open(1).close()


def test_a_meeting_that_has_not_begun_is_400_and_one_that_has_ended_410(stack: Stack) -> None:
    ada = stack.person("Ada")
    meeting_id = ada.post("/meetings", {"title": "Later"}).data["meeting_id"]
    early = Room(stack, meeting_id, (ada,), ())
    assert (refusal(early, 0).answer.status, refusal(early, 0).answer.code) == (400, "MEETING_NOT_ACTIVE")
    room = furnish(stack, "Ada", "Bob")
    ticket = room.people[1].post(room.path("/ws-ticket")).data["ticket"]
    room.people[0].post(room.path("/end"))
    for refused in (refusal(room, 0), refusal(room, 1), refusal(room, None, ticket=ticket)):
        assert (refused.answer.status, refused.answer.code) == (410, "MEETING_ENDED")
    stranger = stack.person("Mallory")
    assert refusal(room, None, token=stranger.token).answer.status == 404


@pytest.mark.parametrize(
    "since",
    [
        "",
        "meeting",
        "meeting:",
        "meeting:x",
        "meeting:-1",
        "meeting:1.5",
        "meeting:1,",
        "meeting:1,meeting:2",
        "meeting:1;me:2",
        "meeting: 1",
        "meeting:١",
        "MEETING:1",
        "meeting:1\nme:1",
        "*:1",
        "m:*:1",
        "[:1",
        "hosts:0",  # not theirs
        "everything:0",
        "breakout:01ARZ3NDEKTSV4RRFFQ69G5FAV:0",
        "p:01ARZ3NDEKTSV4RRFFQ69G5FAV:0",
    ],
)
def test_s67_s75_a_malformed_or_foreign_since_is_422_before_the_upgrade(room: Room, since: str) -> None:
    refused = refusal(room, 1, since=since)
    assert (refused.answer.status, refused.answer.code) == (422, "VALIDATION_ERROR")
    assert list(refused.answer.body["details"]) == ["since"]
    with room.open(1, since="meeting:1,me:0") as his:
        assert his.welcome["type"] == "welcome"


def test_an_unknown_name_in_the_query_is_422(room: Room) -> None:
    refused = refusal(room, 1, query={"user_id": "somebody"})
    assert (refused.answer.status, list(refused.answer.body["details"])) == (422, ["user_id"])


def test_s11_a_ticket_opens_one_socket_of_its_person_in_its_meeting_once(stack: Stack) -> None:
    room, other = furnish(stack, "Ada", "Bob"), furnish(stack, "Cid")
    bob = room.people[1]
    cid = other.people[0].token
    answer = bob.post(room.path("/ws-ticket"))
    assert answer.status == 201
    assert answer.data["expires_in"] == 30
    ticket = answer.data["ticket"]
    assert len(ticket) >= 22  # 128 bits
    bob.post(f"/meetings/{other.meeting_id}/join")
    assert refusal(other, None, ticket=ticket).answer.status == 401
    assert refusal(room, None, ticket=ticket[:-1]).answer.status == 401
    with room.open(0) as hers, Socket.open(stack.url, room.meeting_id, ticket=ticket) as his:
        assert his.welcome["data"]["participant"]["participant_id"] == room.id_of(1)
        assert refusal(room, None, ticket=ticket).answer.code == "UNAUTHENTICATED"
        his.send("chat", {"content": "by ticket"})
        assert hers.until("chat")["user_id"] == room.seats[1]["user_id"]
        assert refusal(room, None, ticket=ticket, token=cid).answer.status == 404  # a Bearer goes before a ticket


def test_s11_a_ticket_is_worth_nothing_after_its_30_seconds(room: Room, runtime: Runtime) -> None:
    with runtime.transaction() as tx:
        tx.execute(update(tickets).values(expires_at=tx.now - timedelta(seconds=60)))
    ticket = room.people[1].post(room.path("/ws-ticket")).data["ticket"]
    with runtime.transaction() as tx:
        left = tx.first(
            update(tickets).where(tickets.c.expires_at > tx.now).values(expires_at=tx.now).returning(tickets)
        )
    assert left is not None
    assert refusal(room, None, ticket=ticket).answer.code == "UNAUTHENTICATED"


def test_a_guest_opens_a_socket_with_a_token_and_with_a_ticket(stack: Stack) -> None:
    room = furnish(stack, "Ada", policy={"allow_anonymous_join": True})
    guest = type(room.people[0])(stack.url)
    seat = guest.post(room.path("/join"), {"display_name": "Gus"}).data
    guest.token = seat["guest_token"]
    ticket = guest.post(room.path("/ws-ticket")).data["ticket"]
    with room.open(0) as hers:
        for options in ({"token": guest.token}, {"ticket": ticket}):
            with Socket.open(stack.url, room.meeting_id, **options) as theirs:
                assert theirs.welcome["data"]["participant"]["user_id"] is None
                theirs.send("chat", {"content": "hi"})
                heard = hers.until("chat")
                assert (heard["user_id"], heard["data"]["sender_id"]) == (None, seat["participant_id"])
    other = furnish(stack, "Bea", policy={"allow_anonymous_join": True})
    assert refusal(other, None, token=guest.token).answer.status == 404


def test_the_first_frame_is_a_welcome_that_says_who_where_and_how_often(room: Room) -> None:
    head = head_of(room)
    with room.open(0) as hers:
        welcome = hers.welcome
        assert welcome["type"] == "welcome"
        assert (welcome["stream"], welcome["seq"]) == (None, None)
        assert welcome["meeting_id"] == room.meeting_id
        data = welcome["data"]
        assert data["participant"]["participant_id"] == room.id_of(0)
        assert set(data["cursors"]) == {"meeting", "me", "hosts"}
        assert data["cursors"]["meeting"] >= head
        assert data["heartbeat"] == {"interval": 12.0, "timeout": 25.0}
        assert data["recovered"] is False
        assert len(data["connection_id"]) == 26
        assert data["epoch"] == room.people[0].get(room.path("/snapshot")).data["epoch"]
    with room.open(1) as his:
        assert set(his.welcome["data"]["cursors"]) == {"meeting", "me"}
        assert "hosts" not in his.welcome["data"]["participant"]


def upgrade(room: Room, method: str = "GET", **headers: str | None) -> tuple[int, str]:
    """Send an upgrade by hand; return the status and the raw head of the answer. A header of None is left out."""
    at = urlsplit(room.stack.url)
    sent: dict[str, Any] = {
        "Host": at.netloc,
        "Authorization": f"Bearer {room.people[1].token}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in sent.items() if value is not None]
    with socket.create_connection((at.hostname, at.port or 80), timeout=10) as raw:
        target = f"/ws/meetings/{room.meeting_id}"
        raw.sendall("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode())
        answered = b""
        while b"\r\n\r\n" not in answered:
            received = raw.recv(65536)
            assert received, answered
            answered += received
    head = answered.partition(b"\r\n\r\n")[0].decode()
    return int(head.split(" ")[1]), head.lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Version": None},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": "c2hvcnQ="},
        {"Sec_WebSocket_Key": "not base64!"},
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"method": "HEAD"},
    ],
)
def test_s72_a_request_that_is_no_upgrade_of_version_13_is_400(room: Room, headers: dict[str, Any]) -> None:
    status, _ = upgrade(room, **headers)
    assert status == 400
    assert upgrade(room)[0] == 101


def test_s78_s83_compression_is_never_negotiated(room: Room) -> None:
    status, head = upgrade(room, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    assert status == 101
    assert "sec-websocket-extensions" not in head


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_WebSocket_Protocol": "chat, @@, ,"},
        {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"},
        {"X_Odd": "caf\xe9"},
        {"Sec_WebSocket_Extensions": "x;;="},
    ],
)
def test_odd_headers_do_not_break_an_upgrade(room: Room, headers: dict[str, Any]) -> None:
    assert upgrade(room, **headers)[0] == 101


def test_m18_a_refusal_sends_no_frame_and_leaves_no_connection(room: Room) -> None:
    with pytest.raises(Refused):
        Socket(room.stack.url, room.meeting_id, token=room.people[1].token, headers={"Origin": "https://evil.example"})
    with room.open(0) as hers:
        assert quiet(hers.drain()) == []
