"""Flask-SocketIO with its Redis message queue, on gunicorn with gevent-websocket."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402  gevent must patch first
from typing import Any  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", message_queue=os.environ["REDIS_URL"], cors_allowed_origins="*")
room_of: dict[str, str] = {}


@socketio.on("join")
def join(room: str) -> None:
    """Enter a room."""
    room_of[request.sid] = room  # type: ignore[attr-defined]  set by Flask-SocketIO
    join_room(room)
    emit("joined", room)


@socketio.on("say")
def say(event: dict[str, Any]) -> None:
    """Tell everybody in the sender's room."""
    socketio.emit("said", event, to=room_of[request.sid])  # type: ignore[attr-defined]


@socketio.on("disconnect")
def leave() -> None:
    """Forget a client; the library takes it out of its room."""
    room_of.pop(request.sid, None)  # type: ignore[attr-defined]
