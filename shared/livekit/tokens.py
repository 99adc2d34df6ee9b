"""Media tokens (contract 9): signed here, without network, with the least grants.

`roomCreate`, `roomAdmin`, `roomList` and `roomRecord` are in no token: the server's API is the workers' alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.settings import Settings
from shared.livekit.errors import LiveKitTokenError


@dataclass(frozen=True, slots=True)
class MediaGrant:
    """Who may do what in which room. `sources` are LiveKit's names: camera, microphone, screen_share …"""

    room: str
    identity: str
    name: str
    sources: tuple[str, ...]

    @property
    def can_publish(self) -> bool:
        """Tell whether anything may be published."""
        return bool(self.sources)


@dataclass(frozen=True, slots=True)
class MediaToken:
    """A signed token and what a client needs beside it."""

    token: str
    livekit_url: str
    room: str
    identity: str
    expires_at: datetime
    can_publish: bool
    can_publish_sources: list[str]
    can_publish_data: bool
    can_subscribe: bool


def sign(settings: Settings, grant: MediaGrant, now: datetime) -> MediaToken:
    """Return a token for LiveKit that lives at most 10 minutes. Raises LiveKitTokenError when not configured."""
    if not settings.has_livekit:
        raise LiveKitTokenError
    # Imported late: it costs 0.2 s and 30 MiB, and most processes never sign one.
    from livekit import api

    ttl = timedelta(seconds=settings.livekit_token_ttl)
    grants = api.VideoGrants(
        room_join=True,
        room=grant.room,
        can_publish=grant.can_publish,
        can_publish_sources=list(grant.sources),
        can_subscribe=True,
        can_publish_data=True,
    )
    token = (
        api.AccessToken(settings.livekit_api_key, settings.livekit_api_secret)
        .with_identity(grant.identity)
        .with_name(grant.name)
        .with_ttl(ttl)
        .with_grants(grants)
        .to_jwt()
    )
    return MediaToken(
        token=token,
        livekit_url=settings.livekit_url,
        room=grant.room,
        identity=grant.identity,
        expires_at=now + ttl,
        can_publish=grant.can_publish,
        can_publish_sources=list(grant.sources),
        can_publish_data=True,
        can_subscribe=True,
    )
