"""flask-sock as its page shows it, on gunicorn with gevent: one loop over the sockets of a room."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402  gevent must patch first
from contextlib import suppress  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402
from flask import Flask  # noqa: E402
from flask_sock import Sock  # noqa: E402
from simple_websocket import ConnectionClosed, Server  # noqa: E402

app = Flask(__name__)
sock = Sock(app)
# redis-py stops at 100 connections, and 500 rooms publish at once.
client = redis.Redis.from_url(os.environ["REDIS_URL"], max_connections=20_000)
rooms: dict[str, set[Server]] = {}


def fan_out() -> None:
    """Carry what Redis tells to the sockets, for ever."""
    pubsub = client.pubsub()
    pubsub.psubscribe("room:*")
    for message in pubsub.listen():
        if message["type"] == "pmessage":
            text = message["data"].decode()
            for ws in list(rooms.get(message["channel"].decode(), ())):
                with suppress(ConnectionClosed, OSError):
                    ws.send(text)


gevent.spawn(fan_out)


@sock.route("/ws/<room>")
def serve(ws: Server, room: str) -> None:
    """Publish what a client sends."""
    channel = f"room:{room}"
    rooms.setdefault(channel, set()).add(ws)
    try:
        while True:
            client.publish(channel, ws.receive())
    finally:
        rooms[channel].discard(ws)
