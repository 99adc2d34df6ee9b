"""Calls to the LiveKit server, for workers only (never under gevent: see docs/adr/0006)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from shared.core.settings import Settings

if TYPE_CHECKING:
    from livekit import api

T = TypeVar("T")
CALL_SECONDS = 10.0


def delete_room(settings: Settings, room: str) -> None:
    """Delete a room, which sends everybody out of it. Fine when it does not exist. Raises what the client raises."""
    from livekit import api

    try:
        _call(settings, lambda lk: lk.room.delete_room(api.DeleteRoomRequest(room=room)))
    except api.TwirpError as refused:
        if refused.code != "not_found":
            raise


def _call(settings: Settings, do: "Callable[[api.LiveKitAPI], Awaitable[T]]") -> T:
    async def run() -> T:
        from livekit import api

        # wait_for: the library's own timeout has no effect (livekit-api 1.2.2 hands None to aiohttp).
        async with api.LiveKitAPI(
            settings.livekit_url, settings.livekit_api_key, settings.livekit_api_secret
        ) as client:
            return await asyncio.wait_for(do(client), CALL_SECONDS)

    return asyncio.run(run())
