"""The product beside a LiveKit server, for tests that let people into its rooms."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from livekit import api

from dev.http_client import Api
from shared.core.settings import Settings
from tests.e2e.room import Room, eventually, installation
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_webhook import event, headers
from tests.stack import Stack

SECONDS = 2.0
SOURCES = {
    name: api.TrackSource.Value(name.upper()) for name in ("camera", "microphone", "screen_share", "screen_share_audio")
}


@dataclass(frozen=True, slots=True)
class Studio:
    """The product beside a LiveKit server that tells it what happens."""

    stack: Stack
    livekit: FakeLiveKit

    def enter(self, room: Room, token: str) -> str:
        """Let somebody enter the media room with a token, as LiveKit would; return the identity."""
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        identity, sources = claims["sub"], claims["video"]["canPublishSources"]
        permission = api.ParticipantPermission(can_publish=True, can_publish_sources=[name.upper() for name in sources])
        who = api.ParticipantInfo(identity=identity, permission=permission)
        self.livekit.rooms.add(room.meeting_id)
        self.livekit.people[(room.meeting_id, identity)] = who
        self.report(event("participant_joined", room.meeting_id, identity, sources=sources))
        return str(identity)

    def may_publish(self, room: Room, identity: str, source: str) -> bool:
        """Tell whether the media server would take a track of that source from somebody."""
        person = self.livekit.people.get((room.meeting_id, identity))
        return person is not None and SOURCES[source] in person.permission.can_publish_sources

    def report(self, body: bytes) -> None:
        answer = Api(self.stack.url).post("/livekit/webhook", raw=body, headers=headers(self.stack.settings, body))
        assert answer.status == 200, answer.body

    def is_there(self, room: Room, identity: str) -> bool:
        return (room.meeting_id, identity) in self.livekit.people

    def wait_until_gone(self, room: Room, identity: str) -> None:
        eventually(lambda: not self.is_there(room, identity), SECONDS)

    def calls(self, room: Room) -> list[str]:
        return [call.method for call in self.livekit.calls if call.room == room.meeting_id]


@contextmanager
def open_studio(settings: Settings, directory: Path, *, webs: int = 1) -> Iterator[Studio]:
    """Yield a studio whose database and Redis are its own: a worker of another stack would take its jobs to another
    media server."""
    with (
        FakeLiveKit(settings.livekit_api_key, settings.livekit_api_secret) as livekit,
        installation(settings, directory, livekit_url=livekit.url) as (own, _),
        Stack(own, directory, webs=webs) as stack,
    ):
        yield Studio(stack, livekit)
