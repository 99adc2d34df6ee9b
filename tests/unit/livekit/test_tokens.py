"""Media tokens: what is in them, and what never is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from shared.core.settings import Settings
from shared.livekit.errors import LiveKitTokenError
from shared.livekit.jobs import DeleteRoom
from shared.livekit.tokens import MediaGrant, sign

pytestmark = pytest.mark.once

SECRET = "a secret of forty bytes for tests, at least"
SETTINGS = Settings(env="test", livekit_url="wss://media.example.com", livekit_api_key="key", livekit_api_secret=SECRET)
GRANT = MediaGrant(room="room", identity="random", name="Ada", sources=("microphone", "camera"))


def test_s14_a_token_grants_to_join_one_room_and_nothing_of_the_servers_api() -> None:
    token = sign(SETTINGS, GRANT, datetime.now(UTC))
    claims = jwt.decode(token.token, SECRET, algorithms=["HS256"])
    assert (claims["iss"], claims["sub"], claims["name"]) == ("key", "random", "Ada")
    assert claims["video"] == {
        "roomJoin": True,
        "room": "room",
        "canPublish": True,
        "canPublishSources": ["microphone", "camera"],
        "canSubscribe": True,
        "canPublishData": True,
    }
    assert set(claims) <= {"iss", "sub", "name", "video", "nbf", "exp"} | {"metadata", "attributes", "sha256", "kind"}


@pytest.mark.parametrize("seconds", [1, 60, 600])
def test_s14_a_token_lives_as_long_as_it_says_and_at_most_ten_minutes(seconds: int) -> None:
    now = datetime.now(UTC)
    token = sign(replace(SETTINGS, livekit_token_ttl=seconds), GRANT, now)
    claims = jwt.decode(token.token, SECRET, algorithms=["HS256"])
    assert token.expires_at == now + timedelta(seconds=seconds)
    assert abs(claims["exp"] - token.expires_at.timestamp()) < 2
    assert claims["exp"] - claims["nbf"] <= seconds <= 600


def test_the_answer_says_what_the_token_says() -> None:
    token = sign(SETTINGS, GRANT, datetime.now(UTC))
    assert (token.livekit_url, token.room, token.identity) == ("wss://media.example.com", "room", "random")
    assert (token.can_publish, token.can_publish_sources) == (True, ["microphone", "camera"])
    assert (token.can_subscribe, token.can_publish_data) == (True, True)


def test_who_may_publish_from_no_source_may_not_publish() -> None:
    token = sign(SETTINGS, replace(GRANT, sources=()), datetime.now(UTC))
    claims = jwt.decode(token.token, SECRET, algorithms=["HS256"])
    assert token.can_publish is claims["video"]["canPublish"] is False


@pytest.mark.parametrize("missing", ["livekit_url", "livekit_api_key", "livekit_api_secret"])
def test_without_livekit_there_is_no_token(missing: str) -> None:
    nothing: dict[str, Any] = {missing: ""}
    with pytest.raises(LiveKitTokenError) as refused:
        sign(replace(SETTINGS, **nothing), GRANT, datetime.now(UTC))
    assert (refused.value.status, refused.value.code) == (500, "LIVEKIT_TOKEN_ERROR")


def test_the_job_to_delete_a_room_goes_to_the_media_lane() -> None:
    job = DeleteRoom(room="room")
    assert (job.name, job.lane, job.payload()) == ("livekit.delete_room", "media", {"room": "room"})
