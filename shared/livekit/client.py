"""Calls to the LiveKit server, for workers only (never under gevent: see docs/adr/0006)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from shared.core import tracing
from shared.core.metrics import LIVEKIT_SECONDS
from shared.core.settings import Settings
from shared.livekit.tokens import MediaGrant

if TYPE_CHECKING:
    from livekit import api

T = TypeVar("T")
CALL_SECONDS = 10.0


def delete_room(settings: Settings, room: str) -> None:
    """Delete a room, which sends everybody out of it. Fine when it does not exist. Raises what the client raises."""
    from livekit import api

    _call_if_there(settings, "delete_room", lambda lk: lk.room.delete_room(api.DeleteRoomRequest(room=room)))


def remove_participant(settings: Settings, room: str, identity: str) -> None:
    """Send somebody out of a room. Fine when nobody of that identity is there. Raises what the client raises."""
    from livekit import api

    who = api.RoomParticipantIdentity(room=room, identity=identity)
    _call_if_there(settings, "remove_participant", lambda lk: lk.room.remove_participant(who))


def set_permissions(settings: Settings, grant: MediaGrant, *, is_muted: bool) -> None:
    """Have somebody in a room hold exactly these rights, and no open microphone if muted. Fine when nobody of that
    identity is there. A source that is taken away ends what is published of it. Raises what the client raises.
    """
    from livekit import api

    who = api.RoomParticipantIdentity(room=grant.room, identity=grant.identity)
    there = _call_if_there(settings, "get_participant", lambda lk: lk.room.get_participant(who))
    if there is None:
        return
    # The server replaces all fields: what is not said is taken away. The same set as in a token.
    permission = api.ParticipantPermission(
        can_subscribe=True,
        can_publish=grant.can_publish,
        can_publish_data=True,
        can_publish_sources=[getattr(api.TrackSource, source.upper()) for source in grant.sources],
    )
    update = api.UpdateParticipantRequest(room=grant.room, identity=grant.identity, permission=permission)
    _call_if_there(settings, "update_participant", lambda lk: lk.room.update_participant(update))
    open_microphones = [t.sid for t in there.tracks if t.source == api.TrackSource.MICROPHONE and not t.muted]
    for sid in open_microphones if is_muted else ():
        mute = api.MuteRoomTrackRequest(room=grant.room, identity=grant.identity, track_sid=sid, muted=True)
        _call_if_there(settings, "mute_published_track", _muting(mute))


def _muting(mute: "api.MuteRoomTrackRequest") -> "Callable[[api.LiveKitAPI], Awaitable[object]]":
    return lambda lk: lk.room.mute_published_track(mute)


def _call_if_there(settings: Settings, call: str, do: "Callable[[api.LiveKitAPI], Awaitable[T]]") -> T | None:
    """Return what a call of that name returns, None when what it is about does not exist."""
    from livekit import api

    began, outcome = time.perf_counter(), "failed"
    try:
        with tracing.span(f"livekit {call}", "client"):
            answer = _call(settings, do)
        outcome = "done"
    except api.TwirpError as refused:
        outcome = "not_there" if refused.code == "not_found" else "refused"
        if refused.code != "not_found":
            raise
        return None
    finally:
        LIVEKIT_SECONDS.labels(call, outcome).observe(time.perf_counter() - began)
    return answer


def _call(settings: Settings, do: "Callable[[api.LiveKitAPI], Awaitable[T]]") -> T:
    async def run() -> T:
        from livekit import api

        # wait_for: the library's own timeout has no effect (livekit-api 1.2.2 hands None to aiohttp).
        async with api.LiveKitAPI(
            settings.livekit_url, settings.livekit_api_key, settings.livekit_api_secret
        ) as client:
            return await asyncio.wait_for(do(client), CALL_SECONDS)

    return asyncio.run(run())
