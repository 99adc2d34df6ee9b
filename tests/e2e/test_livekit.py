"""LiveKit lets in whoever holds a token; who may not be there is sent out again (S42)."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from livekit import api

from shared.core.settings import Settings
from tests.e2e.room import Room, eventually, furnish
from tests.e2e.studio import SECONDS, Studio, open_studio
from tests.fakes.livekit_webhook import event

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def studio(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with open_studio(settings, tmp_path_factory.mktemp("studio")) as studio:
        yield studio


def token_of(room: Room, who: int) -> str:
    return str(room.people[who].post(room.path("/token")).data["token"])


def put_out(room: Room, how: str) -> None:
    host, them = room.people[0], room.path(f"/participants/{room.id_of(1)}")
    asked: dict[str, Any] = {
        "removed": lambda: host.post(f"{them}/remove", {}),
        "banned": lambda: host.post(f"{them}/remove", {"ban": True}),
        "waiting": lambda: host.post(f"{them}/send-to-waiting-room", {}),
        "left": lambda: room.people[1].post(room.path("/leave")),
    }
    assert asked[how]().status == 200


@pytest.mark.parametrize("how", ["removed", "banned", "waiting", "left"])
def test_s42_an_old_token_lets_nobody_stay(studio: Studio, how: str) -> None:
    room = furnish(studio.stack, "Hosta", "Ann")
    old = token_of(room, 1)
    put_out(room, how)
    identity = studio.enter(room, old)
    studio.wait_until_gone(room, identity)


def test_s42_the_token_of_an_earlier_stay_does_not_either(studio: Studio) -> None:
    room = furnish(studio.stack, "Hosta", "Ann")
    first = token_of(room, 1)
    room.people[1].post(room.path("/leave"))
    room.people[1].post(room.path("/join"))
    second = token_of(room, 1)
    put_out(room, "banned")
    for token in (first, second):
        identity = studio.enter(room, token)
        studio.wait_until_gone(room, identity)


def test_who_may_be_there_is_left_alone_and_so_is_who_is_not_ours(studio: Studio) -> None:
    room = furnish(studio.stack, "Hosta", "Ann")
    ann = studio.enter(room, token_of(room, 1))
    studio.livekit.people[(room.meeting_id, "EG_recorder")] = api.ParticipantInfo(identity="EG_recorder")
    studio.report(event("participant_joined", room.meeting_id, "EG_recorder"))
    studio.report(event("participant_joined", "nobody's room", ann))
    for kind in ("participant_left", "room_finished", "track_published", "something_new"):
        studio.report(event(kind, room.meeting_id, ann))
    # Events are worked on one behind the other: when the last is done, so are the others.
    banned = furnish(studio.stack, "Hosta", "Eve")
    old = token_of(banned, 1)
    put_out(banned, "banned")
    eve = studio.enter(banned, old)
    studio.wait_until_gone(banned, eve)
    time.sleep(0.5)
    assert studio.calls(room) == []
    listed = room.people[0].get(room.path("/participants?status=joined")).data
    assert [person["user_name"] for person in listed] == ["Hosta", "Ann"]


def test_who_enters_with_more_rights_than_are_left_gets_those_that_are(studio: Studio) -> None:
    room = furnish(studio.stack, "Hosta", "Ann")
    old = token_of(room, 1)
    room.people[0].patch(room.path("/security/policy"), {"screen_share_permissions": "none"})
    identity = studio.enter(room, old)
    there = studio.livekit.people[(room.meeting_id, identity)]
    eventually(lambda: len(there.permission.can_publish_sources) == 2, SECONDS)
    assert studio.is_there(room, identity)
