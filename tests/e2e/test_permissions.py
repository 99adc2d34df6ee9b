"""The table of permissions over WebSockets: who gets one, and who may send which frame (S27, S74)."""

from typing import Any

import pytest

from dev.http_client import Api
from dev.permissions import ASKERS, outcome
from dev.websocket_client import Refused, Socket
from shared.participants.permissions import MEETING_LISTEN
from tests.e2e.room import Room, ask, furnish
from tests.stack import Stack
from web.realtime.frame_types import FRAME_TYPES, FrameType

FRAMES: dict[str, dict[str, Any]] = {
    "chat": {"content": "hello"},
    "hand_raise": {"is_hand_raised": True},
    "participant_update": {"is_muted": True},
    "reaction": {"reaction_type": "clap"},
    "screen_share": {"is_screen_sharing": True},
    "typing": {"is_typing": True},
}
CODES = {"401": "UNAUTHENTICATED", "403": "INSUFFICIENT_PERMISSION", "404": "MEETING_NOT_FOUND"}


@pytest.fixture(scope="module")
def invited(stack: Stack) -> Api:
    """Somebody who is invited and has not come."""
    return stack.person("Ina")


@pytest.fixture(scope="module")
def room(stack: Stack, invited: Api) -> Room:
    """A meeting of a host, a co-host, an attendee, one who has left, and one who was removed."""
    email = invited.get("/auth/me").data["email"]
    policy = {"allow_anonymous_join": True}
    room = furnish(stack, "Hosta", "Deputy", "Ann", "Lefty", "Remo", policy=policy, invitees=[email])
    host = room.people[0]
    host.patch(room.path(f"/participants/{room.id_of(1)}"), {"role": "co-host"})
    room.people[3].post(room.path("/leave"))
    host.post(room.path(f"/participants/{room.id_of(4)}/remove"))
    return room


@pytest.fixture(scope="module")
def people(room: Room, stack: Stack, invited: Api) -> dict[str, Api]:
    """Somebody of every kind in that meeting."""
    guest = Api(stack.url)
    guest.token = guest.post(room.path("/join"), {"display_name": "Gus"}).data["guest_token"]
    room.people[0].patch(room.path("/security/policy"), {"require_waiting_room": True})
    waiter, outsider = stack.person("Wanda"), stack.person("Otto")
    waiter.post(room.path("/join"))
    names = ("host", "co-host", "attendee", "left", "removed")
    return dict(zip(names, room.people, strict=True)) | {
        "guest": guest,
        "waiter": waiter,
        "invited": invited,
        "outsider": outsider,
    }


@pytest.mark.parametrize("who", ASKERS)
def test_s27_a_socket_and_every_frame_are_for_those_whom_the_table_names(
    room: Room, people: dict[str, Api], who: str
) -> None:
    entry = outcome(MEETING_LISTEN, "member", who)
    if entry != "yes":
        with pytest.raises(Refused) as refused:
            Socket(room.stack.url, room.meeting_id, token=people[who].token)
        answer = refused.value.answer
        assert (str(answer.status), answer.body["code"]) == (entry, CODES[entry])
        return
    with room.open(0) as listener, room.stack.socket(people[who], room.meeting_id) as socket:
        for name, kind in FRAME_TYPES.items():
            wanted = outcome(kind.permission, "member", who)
            before = _acts(room)
            if wanted == "yes":
                _check_done(socket, listener, kind)
            else:
                error = ask(socket, name, FRAMES[name])
                assert (error["type"], error["code"]) == ("error", CODES[wanted]), (name, error)
                assert _acts(room) == before
                assert name not in {frame["type"] for frame in listener.drain(0.1)}


def _check_done(socket: Socket, listener: Socket, kind: FrameType) -> None:
    if kind.is_kept:
        assert ask(socket, kind.name, FRAMES[kind.name])["type"] == "ack", kind.name
    else:
        socket.send(kind.name, FRAMES[kind.name])
    listener.until(kind.name)


def _acts(room: Room) -> list[int]:
    """Return the numbers of what people did; that sockets of earlier cases are found gone meanwhile is none of it."""
    return [event["seq"] for event in room.events(0) if event["type"] not in ("connection_status", "leave")]
