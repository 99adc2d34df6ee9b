"""What is refused on the WebSocket is told of in the audit trail: frames, signals and handshakes."""

from typing import Any

import pytest

from dev.http_client import Api
from tests.e2e.room import Room, ask, eventually, furnish, refusal
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


def refused(room: Room) -> list[dict[str, Any]]:
    """Return the rows of refusals."""
    return list(room.people[0].get(room.path("/security/events?outcome=refused&limit=200")).data)


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["kind"], row["actor"]["name"], row["details"]["operation"], row["details"]["code"]


def test_refused_frames_leave_one_row_each_and_a_flood_of_them_no_more(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann", policy={"chat_permissions": "host", "enable_reactions": False})
    with room.open(1) as hers:
        for _ in range(30):
            assert ask(hers, "chat", {"content": "let me"})["code"] == "CHAT_DISABLED"
            assert ask(hers, "reaction", {"reaction_type": "clap"})["code"] == "REACTIONS_DISABLED"
        assert ask(hers, "chat", {"content": ""})["code"] == "VALIDATION_ERROR"
    assert [told(row) for row in refused(room)] == [
        ("chat.send", "Ann", "frame chat", "CHAT_DISABLED"),
        ("reaction.send", "Ann", "frame reaction", "REACTIONS_DISABLED"),
    ]


def test_refused_handshakes_leave_a_row_and_what_is_said_inside_none(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Ann")
    stranger = stack.person("Stranger")
    with room.open(1) as hers:
        assert ask(hers, "chat", {"content": "hello"})["type"] == "ack"
    assert refusal(room, None, token=stranger.token).answer.status == 404
    room.people[0].post(room.path(f"/participants/{room.id_of(1)}/remove"), {})
    assert refusal(room, 1).answer.status == 404
    operation = "WS /ws/meetings/<meeting_id>"
    rows = eventually(lambda: refused(room))
    assert [told(row) for row in rows] == [
        ("meeting.listen", "Stranger", operation, "MEETING_NOT_FOUND"),
        ("meeting.listen", "Ann", operation, "MEETING_NOT_FOUND"),
    ]
    assert rows[1]["actor"]["participant_id"] == room.id_of(1)


def test_a_guest_of_another_meeting_is_named(stack: Stack) -> None:
    room = furnish(stack, "Hosta")
    elsewhere = furnish(stack, "Other", policy={"allow_anonymous_join": True})
    guest = Api(stack.url).post(elsewhere.path("/join"), {"display_name": "Gus"}).data
    assert refusal(room, None, token=guest["guest_token"]).answer.status == 404
    (row,) = refused(room)
    assert row["actor"]["participant_id"] == guest["participant_id"]
