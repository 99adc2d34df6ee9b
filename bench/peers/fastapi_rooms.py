"""FastAPI on uvicorn with uvloop and httptools, and redis.asyncio: one loop over the sockets of a room."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import redis.asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

# redis-py stops at 100 connections, and 500 rooms publish at once.
client = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"], max_connections=20_000)
rooms: dict[str, set[WebSocket]] = {}


async def fan_out() -> None:
    """Carry what Redis tells to the sockets, for ever."""
    pubsub = client.pubsub()
    await pubsub.psubscribe("room:*")
    async for message in pubsub.listen():
        if message["type"] == "pmessage":
            text = message["data"].decode()
            for ws in list(rooms.get(message["channel"].decode(), ())):
                with suppress(WebSocketDisconnect, RuntimeError):
                    await ws.send_text(text)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Run the fan-out beside the application."""
    task = asyncio.create_task(fan_out())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/{room}")
async def serve(ws: WebSocket, room: str) -> None:
    """Publish what a client sends."""
    channel = f"room:{room}"
    await ws.accept()
    rooms.setdefault(channel, set()).add(ws)
    try:
        while True:
            await client.publish(channel, await ws.receive_text())
    except WebSocketDisconnect:
        pass
    finally:
        rooms[channel].discard(ws)
