"""Who fails with somebody else's name fails alone: the other one notices nothing (S12)."""

import json
from collections.abc import Callable

import jwt
import pytest

from dev.http_client import Api
from dev.websocket_client import Socket
from tests.e2e.room import Room, ask, furnish, hear, refusal
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)
VICTIM, ATTACKER = 1, 2


def forged(room: Room, kind: str) -> str:
    """Return the victim's token, with a signature of somebody else's."""
    claims = jwt.decode(str(room.people[VICTIM].token), options={"verify_signature": False})
    return jwt.encode({**claims, "typ": kind}, "another secret of more than 32 bytes, as it should be")


def frames_in_their_name(room: Room) -> None:
    them = {"participant_id": room.id_of(VICTIM), "user_id": room.seats[VICTIM]["user_id"]}
    with room.open(ATTACKER) as mine:
        for type_, data in (
            ("chat", {"content": "it was me"}),
            ("participant_update", {"is_muted": True}),
            ("hand_raise", {"is_hand_raised": True}),
            ("typing", {"is_typing": True}),
            ("leave", {}),
            ("hello", {}),
        ):
            assert ask(mine, type_, {**data, **them})["type"] == "error"
            mine.send_text(json.dumps({"type": type_, "data": data, "id": "x", **them}))
            assert mine.until("error")["id"] in ("x", None)


def handshakes_in_their_name(room: Room) -> None:
    id_ = room.id_of(VICTIM)
    for options in ({"token": forged(room, "access")}, {"ticket": id_}, {"ticket": f"{id_}.{'a' * 43}"}):
        assert refusal(room, None, **options).answer.status == 401
    query = {"participant_id": id_, "user_id": str(room.seats[VICTIM]["user_id"])}
    assert refusal(room, None, query=query).answer.status == 401


def nonsense_until_closed(room: Room) -> None:
    with room.open(ATTACKER) as mine:
        for _ in range(3):
            mine.send_text(f'{{"participant_id": "{room.id_of(VICTIM)}"')
        assert mine.closed(5).code == 1007


def a_refresh_in_their_name(room: Room) -> None:
    for kind in ("access", "refresh"):
        thief = Api(room.stack.url, forged(room, kind))
        assert thief.post("/auth/refresh").status == 401
        assert thief.post("/auth/logout").status == 401


def wrong_passwords_of_theirs(room: Room) -> None:
    email = room.people[VICTIM].get("/auth/me").data["email"]
    for _ in range(12):
        login = {"email": email, "password": "not the password"}
        assert Api(room.stack.url).post("/auth/login", login).status in (401, 429)


def removal_of_them(room: Room) -> None:
    attacker = room.people[ATTACKER]
    them = room.path(f"/participants/{room.id_of(VICTIM)}")
    assert attacker.post(f"{them}/remove", {"ban": True}).status == 403
    assert attacker.patch(them, {"is_muted": True}).status == 403
    assert attacker.post(room.path("/leave"), {"participant_id": room.id_of(VICTIM)}).status == 422


TRIES = [
    frames_in_their_name,
    handshakes_in_their_name,
    nonsense_until_closed,
    a_refresh_in_their_name,
    wrong_passwords_of_theirs,
    removal_of_them,
]


@pytest.mark.parametrize("attempt", TRIES, ids=[attempt.__name__ for attempt in TRIES])
def test_s12_a_failure_in_somebodys_name_touches_nobody_but_who_fails(
    stack: Stack, attempt: Callable[[Room], None]
) -> None:
    room = furnish(stack, "Hosta", "Victoria", "Mallory")
    with room.open(0) as hers, room.open(VICTIM) as his:
        attempt(room)
        _is_unharmed(room, hers, his)


def test_s12_a_connection_id_of_somebody_else_is_worth_nothing(stack: Stack) -> None:
    room = furnish(stack, "Hosta", "Victoria", "Mallory")
    with room.open(0) as hers, room.open(VICTIM) as his:
        theirs = {"connection_id": his.welcome["data"]["connection_id"]}
        attacker = room.people[ATTACKER]
        assert attacker.post(room.path("/join"), theirs).data["participant_id"] == room.id_of(ATTACKER)
        assert attacker.post(room.path("/leave")).status == 200
        assert attacker.post(room.path("/join"), theirs).status == 200
        _is_unharmed(room, hers, his)


def _is_unharmed(room: Room, hers: Socket, his: Socket) -> None:
    """Check that the victim is where they were, and that neither they nor others were told anything of them."""
    assert ask(his, "chat", {"content": "all is well"})["type"] == "ack"
    hear(hers, "all is well")
    about_them = [
        frame
        for socket in (hers, his)
        for frame in socket.heard
        if frame["type"] not in ("welcome", "ack", "chat", "connection_status") and room.id_of(VICTIM) in str(frame)
    ]
    assert about_them == []
    seen = room.people[0].get(room.path("/participants")).data
    (them,) = [person for person in seen if person["participant_id"] == room.id_of(VICTIM)]
    flags = (them["status"], them["is_muted"], them["is_hand_raised"], them["joined_at"])
    assert flags == ("joined", False, False, room.seats[VICTIM]["joined_at"])
