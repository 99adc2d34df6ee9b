"""Tokens for LiveKit, decoded: who may do what, for how long, as whom."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import jwt
import pytest

from shared.core.ids import new_id
from shared.core.settings import Settings
from shared.runtime import Runtime
from tests.factories.scene import co_host
from tests.factories.world import Person, World
from web.app import create_app

VOICE_AND_PICTURE = ["microphone", "camera"]
ALL_SOURCES = [*VOICE_AND_PICTURE, "screen_share", "screen_share_audio"]


def decoded(settings: Settings, data: dict[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(data["token"], settings.livekit_api_secret, algorithms=["HS256"])
    return claims


def ask(person: Person, meeting_id: str) -> dict[str, Any]:
    answer = person.post(f"/meetings/{meeting_id}/token")
    assert answer.status == 200, answer.body
    data: dict[str, Any] = answer.data
    return data


@pytest.mark.parametrize("role", ["host", "co-host", "attendee", "guest"])
@pytest.mark.parametrize(
    ("permission", "who_presents"),
    [("all", {"host", "co-host", "attendee", "guest"}), ("host", {"host", "co-host"}), ("none", set())],
)
def test_s14_a_token_has_the_least_grants_for_role_and_policy(
    world: World, settings: Settings, role: str, permission: str, who_presents: set[str]
) -> None:
    host = world.person()
    policy = {"allow_anonymous_join": True, "screen_share_permissions": permission}
    meeting_id = world.meeting(host, policy=policy)
    if role == "guest":
        seat = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "G"}).data
        person = world.guest(seat["guest_token"])
    else:
        person = {"host": lambda: host, "co-host": lambda: co_host(world, meeting_id), "attendee": world.person}[role]()
        world.inside(meeting_id, person)
    data = ask(person, meeting_id)
    sources = ALL_SOURCES if role in who_presents else VOICE_AND_PICTURE
    claims = decoded(settings, data)
    assert claims["video"] == {
        "roomJoin": True,
        "room": data["room"],
        "canPublish": True,
        "canPublishSources": sources,
        "canSubscribe": True,
        "canPublishData": True,
    }
    assert not {"sip", "inference", "observability", "roomConfig"} & set(claims)
    assert data["can_publish_sources"] == sources
    assert (data["can_publish"], data["can_subscribe"], data["can_publish_data"]) == (True, True, True)


def test_s14_a_token_lives_ten_minutes_at_most_and_says_so(world: World, settings: Settings) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    answer = host.post(f"/meetings/{meeting_id}/token")
    claims = decoded(settings, answer.data)
    now = datetime.fromisoformat(answer.body["timestamp"]).timestamp()
    assert 0 < claims["exp"] - now <= 600
    assert claims["exp"] - claims["nbf"] <= 600
    assert abs(datetime.fromisoformat(answer.data["expires_at"]).timestamp() - claims["exp"]) < 2
    assert (answer.data["livekit_url"], claims["iss"]) == (settings.livekit_url, settings.livekit_api_key)


def test_s16_identities_tell_nothing_and_no_two_are_alike(world: World, settings: Settings) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    people = [world.person() for _ in range(30)]
    seats = world.inside(meeting_id, *people)
    identities = []
    for person, seat in zip(people, seats, strict=True):
        data = ask(person, meeting_id)
        assert decoded(settings, data)["sub"] == data["identity"]
        assert ask(person, meeting_id)["identity"] == data["identity"]
        for known in (person.id, person.email, seat["participant_id"]):
            assert known.lower() not in data["identity"].lower()
        identities.append(data["identity"])
    assert len(set(identities)) == 30
    assert min(map(len, identities)) >= 20
    shown = str(people[0].get(f"/meetings/{meeting_id}/participants").body)
    assert not any(identity in shown for identity in identities)
    people[0].post(f"/meetings/{meeting_id}/leave")
    world.inside(meeting_id, people[0])
    assert ask(people[0], meeting_id)["identity"] not in identities


def test_s42_only_who_is_inside_gets_a_token(world: World) -> None:
    host, ada, invited = world.person(), world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    world.inside(meeting_id, host, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    path = f"/meetings/{meeting_id}/token"
    for person, status in ((ada, 403), (invited, 403), (world.person(), 404), (world.nobody(), 401), (host, 200)):
        assert person.post(path).status == status
    host.post(f"/meetings/{meeting_id}/end")
    assert host.post(path).code == "MEETING_ENDED"
    scheduled = world.meeting(host, start=False)
    assert host.post(f"/meetings/{scheduled}/token").code == "MEETING_NOT_ACTIVE"


@pytest.mark.parametrize(
    "body", [{"identity": "x"}, {"room": "x"}, {"can_publish": True}, {"user_id": "x"}, {"ttl": 1}]
)
def test_nobody_chooses_identity_room_or_grants(world: World, body: dict[str, Any]) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    assert host.post(f"/meetings/{meeting_id}/token", body).status == 422
    assert host.post(f"/meetings/{meeting_id}/token", {"breakout_room_id": None}).status == 200


def test_a_breakout_room_that_does_not_exist_is_404(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    assert host.post(f"/meetings/{meeting_id}/token", {"breakout_room_id": new_id()}).status == 404


@pytest.fixture
def without_livekit(runtime: Runtime) -> World:
    """The world of an installation that has no LiveKit."""
    settings = replace(runtime.settings, livekit_url="", livekit_api_key="", livekit_api_secret="")
    other = replace(runtime, settings=settings, tools=replace(runtime.tools, settings=settings))
    return World(create_app(other), other)


def test_without_livekit_members_are_told_and_strangers_are_not(without_livekit: World) -> None:
    world = without_livekit
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    answer = host.post(f"/meetings/{meeting_id}/token")
    assert (answer.status, answer.code) == (500, "LIVEKIT_TOKEN_ERROR")
    assert world.person().post(f"/meetings/{meeting_id}/token").code == "MEETING_NOT_FOUND"
    assert host.post(f"/meetings/{meeting_id}/end").status == 200
