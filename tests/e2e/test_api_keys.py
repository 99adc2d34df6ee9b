"""API keys against real processes: what they open, what they do not, and how soon they end (contract 2, S10)."""

import time

import pytest

from dev.http_client import Api
from shared.identity.scopes import SCOPES
from tests.e2e.room import Room, furnish, hear, refusal
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def room(stack: Stack) -> Room:
    """A meeting with Ada, who hosts, and Bob."""
    return furnish(stack, "Ada", "Bob")


def make(room: Room, who: int, *scopes: str) -> tuple[Api, str]:
    """Return a server with a new key of somebody, and the key's id."""
    made = room.people[who].post("/api-keys", {"name": "Server", "scopes": scopes or SCOPES}).data
    return Api(room.stack.url, made["key"]), str(made["api_key_id"])


def test_s10_a_key_opens_no_socket_and_gets_no_ticket(room: Room) -> None:
    robot, id_ = make(room, 1)
    for options in ({}, {"query": {"since": "meeting:1"}}, {"meeting_id": "0" * 26}):
        refused = refusal(room, None, token=robot.token, **options)
        assert (refused.answer.status, refused.answer.code) == (403, "INSUFFICIENT_PERMISSION")
        assert refused.answer.body["details"]["rule"] == "api_key"
    assert robot.post(room.path("/ws-ticket")).code == "INSUFFICIENT_PERMISSION"
    unknown = refusal(room, None, token=f"{robot.token}x")
    assert (unknown.answer.status, unknown.answer.code) == (401, "UNAUTHENTICATED")
    as_ticket = refusal(room, None, ticket=robot.token)
    assert (as_ticket.answer.status, as_ticket.answer.code) == (401, "UNAUTHENTICATED")
    room.people[1].delete(f"/api-keys/{id_}")
    revoked = refusal(room, None, token=robot.token)
    assert (revoked.answer.status, revoked.answer.code) == (401, "TOKEN_REVOKED")
    with room.open(1) as his:  # whose key it is opens it as before
        assert his.welcome["data"]["participant"]["participant_id"] == room.id_of(1)


def test_what_a_server_does_is_heard_as_its_owners_doing(room: Room) -> None:
    robot, _ = make(room, 1, "chat:write", "participants:write")
    with room.open(0) as hers:
        said = robot.post(room.path("/chat"), {"content": "from a server", "message_type": "text"}).data
        assert hear(hers, "from a server")["data"]["sender_id"] == said["sender_id"] == room.id_of(1)
        assert robot.get(room.path("/chat")).code == "INSUFFICIENT_SCOPE"
        assert robot.post("/meetings", {"title": "A"}).code == "INSUFFICIENT_SCOPE"
        assert robot.put(room.path("/participants/status"), {"is_hand_raised": True}).status == 200
        assert hers.until("hand_raise")["data"]["participant_id"] == room.id_of(1)
        assert robot.post(room.path("/token"), {}).data["room"] == room.meeting_id


def test_a_revoked_key_ends_within_a_second_whatever_it_was_doing(room: Room) -> None:
    robot, id_ = make(room, 0, "meetings:read")
    assert robot.get(room.path("/status")).status == 200
    began = time.monotonic()
    assert room.people[0].delete(f"/api-keys/{id_}").status == 200
    assert robot.get(room.path("/status")).code == "TOKEN_REVOKED"
    assert time.monotonic() - began < 1.0
