"""Calls to a LiveKit server that is well, that refuses, that breaks, and that does not answer."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from livekit import api

from shared.core.ids import new_id
from shared.core.settings import Settings
from shared.livekit import client
from shared.livekit.client import delete_room, remove_participant, set_permissions
from shared.livekit.tokens import MediaGrant
from tests.factories.counted import counted
from tests.fakes.livekit import FakeLiveKit, answers, hangs_up, is_slow

pytestmark = pytest.mark.once

KEY, SECRET = "devkey", "a secret of forty bytes for tests, at least"


@pytest.fixture
def livekit() -> Iterator[FakeLiveKit]:
    with FakeLiveKit(KEY, SECRET) as server:
        yield server


def settings_for(livekit: FakeLiveKit, **changes: Any) -> Settings:
    given = Settings(env="test", livekit_url=livekit.url, livekit_api_key=KEY, livekit_api_secret=SECRET)
    return replace(given, **changes)


def test_a_room_is_deleted_with_no_more_rights_than_that_takes(livekit: FakeLiveKit) -> None:
    room, other = new_id(), new_id()
    livekit.rooms |= {room, other}
    delete_room(settings_for(livekit), room)
    assert livekit.rooms == {other}
    (call,) = livekit.calls
    assert call.room == room
    granted = {name for name, is_granted in call.grants.items() if is_granted and name.startswith("room")}
    assert granted == {"roomCreate"}


def test_a_room_that_is_gone_already_is_fine(livekit: FakeLiveKit) -> None:
    room = new_id()
    livekit.rooms.add(room)
    for _ in range(2):
        delete_room(settings_for(livekit), room)
    assert len(livekit.calls) == 2


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (answers(500, b'{"code":"internal","msg":"oops"}'), 500, "internal"),
        (answers(502, b"<html>Bad Gateway</html>", "text/html"), 502, "unknown"),
        (answers(429, b'{"code":"resource_exhausted","msg":"slow down"}'), 429, "resource_exhausted"),
        # The 404 of a proxy, or of a wrong path, is not LiveKit's word that the room is gone.
        (answers(404, b"<html>Not Found</html>", "text/html"), 404, "unknown"),
        (answers(404, b'{"code":"bad_route","msg":"no handler"}'), 404, "bad_route"),
    ],
)
def test_a_refusal_is_raised_so_that_the_job_is_tried_again(
    livekit: FakeLiveKit, fault: Callable[..., bool], status: int, code: str
) -> None:
    room = new_id()
    livekit.rooms.add(room)
    livekit.fault = fault
    with pytest.raises(api.TwirpError) as refused:
        delete_room(settings_for(livekit), room)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert livekit.rooms == {room}


@pytest.mark.parametrize(
    "changes", [{"livekit_api_secret": "another secret, also of many bytes"}, {"livekit_api_key": "x"}]
)
def test_wrong_credentials_are_raised(livekit: FakeLiveKit, changes: dict[str, str]) -> None:
    room = new_id()
    livekit.rooms.add(room)
    with pytest.raises(api.TwirpError) as refused:
        delete_room(settings_for(livekit, **changes), room)
    assert refused.value.code == "unauthenticated"
    assert livekit.rooms == {room}


def test_a_server_that_hangs_up_or_is_not_there_is_raised(livekit: FakeLiveKit) -> None:
    livekit.fault = hangs_up
    with pytest.raises(aiohttp.ClientError):
        delete_room(settings_for(livekit), new_id())
    with pytest.raises(aiohttp.ClientError):
        delete_room(settings_for(livekit, livekit_url="ws://127.0.0.1:1"), new_id())


def test_a_server_that_does_not_answer_is_given_up_in_time(
    livekit: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.CALL_SECONDS < 90  # what a task may take
    monkeypatch.setattr(client, "CALL_SECONDS", 0.1)
    livekit.fault = is_slow(5)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        delete_room(settings_for(livekit), new_id())
    assert time.monotonic() - began < 2


def test_a_server_that_is_only_slow_is_waited_for(livekit: FakeLiveKit) -> None:
    room = new_id()
    livekit.rooms.add(room)
    livekit.fault = is_slow(0.2)
    delete_room(settings_for(livekit), room)
    assert livekit.rooms == set()


def test_every_call_is_timed_by_what_became_of_it(livekit: FakeLiveKit) -> None:
    def times(outcome: str) -> float:
        return counted("parley_livekit_seconds_count", call="delete_room", outcome=outcome)

    names = ("done", "not_there", "refused", "failed")
    before = [times(name) for name in names]
    room = new_id()
    livekit.rooms.add(room)
    for _ in range(2):
        delete_room(settings_for(livekit), room)
    for fault, error in ((answers(500, b"{}"), api.TwirpError), (hangs_up, aiohttp.ClientError)):
        livekit.fault = fault
        with pytest.raises(error):
            delete_room(settings_for(livekit), room)

    assert [times(name) for name in names] == [one + 1 for one in before]


# --- people in a room

MICROPHONE, CAMERA, SCREEN = api.TrackSource.MICROPHONE, api.TrackSource.CAMERA, api.TrackSource.SCREEN_SHARE


def enter(livekit: FakeLiveKit, room: str, identity: str) -> api.ParticipantInfo:
    """Let somebody be in a room with three open tracks."""
    livekit.rooms.add(room)
    tracks = [api.TrackInfo(sid=f"TR_{source}", source=source) for source in (MICROPHONE, CAMERA, SCREEN)]
    livekit.people[room, identity] = api.ParticipantInfo(identity=identity, tracks=tracks)
    return livekit.people[room, identity]


def grant(room: str, *sources: str) -> MediaGrant:
    return MediaGrant(room=room, identity="ann", name="Ann", sources=sources)


def test_somebody_is_sent_out_with_rights_for_that_room_only(livekit: FakeLiveKit) -> None:
    room = new_id()
    enter(livekit, room, "ann")
    enter(livekit, room, "bob")
    remove_participant(settings_for(livekit), room, "ann")
    assert list(livekit.people) == [(room, "bob")]
    granted = {name for name, value in livekit.calls[0].grants.items() if value and name.startswith("room")}
    assert granted == {"roomAdmin", "room"}


def test_who_is_not_there_is_fine(livekit: FakeLiveKit) -> None:
    room = new_id()
    remove_participant(settings_for(livekit), room, "ann")
    livekit.rooms.add(room)
    remove_participant(settings_for(livekit), room, "ann")
    set_permissions(settings_for(livekit), grant(room, "microphone"), is_muted=True)
    assert [call.method for call in livekit.calls] == ["RemoveParticipant", "RemoveParticipant", "GetParticipant"]


def test_rights_are_those_of_a_token_and_what_is_taken_away_ends(livekit: FakeLiveKit) -> None:
    room = new_id()
    person = enter(livekit, room, "ann")
    set_permissions(settings_for(livekit), grant(room, "microphone", "camera"), is_muted=False)
    assert (person.permission.can_publish, person.permission.can_subscribe, person.permission.can_publish_data) == (
        True,
        True,
        True,
    )
    assert list(person.permission.can_publish_sources) == [MICROPHONE, CAMERA]
    assert [(track.source, track.muted) for track in person.tracks] == [(MICROPHONE, False), (CAMERA, False)]
    set_permissions(settings_for(livekit), grant(room), is_muted=False)
    assert (person.permission.can_publish, list(person.tracks)) == (False, [])


def test_an_open_microphone_of_who_is_muted_is_closed_and_nothing_else(livekit: FakeLiveKit) -> None:
    room = new_id()
    person = enter(livekit, room, "ann")
    for _ in range(2):
        set_permissions(settings_for(livekit), grant(room, "microphone", "camera", "screen_share"), is_muted=True)
    assert [(track.source, track.muted) for track in person.tracks] == [
        (MICROPHONE, True),
        (CAMERA, False),
        (SCREEN, False),
    ]
    assert [call.method for call in livekit.calls].count("MutePublishedTrack") == 1


def test_a_refusal_that_is_not_absence_is_raised(livekit: FakeLiveKit) -> None:
    livekit.fault = answers(500, b'{"code":"internal","msg":"oops"}')
    with pytest.raises(api.TwirpError):
        remove_participant(settings_for(livekit), new_id(), "ann")
