"""A LiveKit server as far as rooms go, speaking Twirp over protobuf, and misbehaving like the real one when told to.

Facts it keeps to: a missing grant is 401 `unauthenticated`, an unknown room 404 `not_found`, errors are JSON whatever
was asked in; a proxy in front answers 502 in HTML; a busy server answers late, or hangs up.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from livekit import api

SERVICE = "/twirp/livekit.RoomService/"
_METHODS: dict[str, tuple[Any, str]] = {
    "DeleteRoom": (api.DeleteRoomRequest, "roomCreate"),
    "GetParticipant": (api.RoomParticipantIdentity, "roomAdmin"),
    "RemoveParticipant": (api.RoomParticipantIdentity, "roomAdmin"),
    "UpdateParticipant": (api.UpdateParticipantRequest, "roomAdmin"),
    "MutePublishedTrack": (api.MuteRoomTrackRequest, "roomAdmin"),
}
_STATUS = {"unauthenticated": 401, "not_found": 404, "bad_route": 404, "resource_exhausted": 429, "internal": 500}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that arrived: the method, the room meant, and what the token granted."""

    method: str
    room: str
    grants: dict[str, Any]


class Refusal(Exception):
    """What Twirp answers instead of a result."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FakeLiveKit:
    """Serves on a free port of the loopback. `fault` is asked before each call and may answer in its place."""

    def __init__(self, key: str, secret: str) -> None:
        self._keys = {key: secret}
        self.rooms: set[str] = set()
        self.people: dict[tuple[str, str], api.ParticipantInfo] = {}  # by room and identity
        self.calls: list[Call] = []
        self.fault: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not fake.fault(self):
                    fake._answer(self, body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Return the URL for clients, as it stands in settings."""
        return f"ws://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        try:
            result = self._call(handler.path, handler.headers.get("Authorization", ""), body)
        except Refusal as refusal:
            text = json.dumps({"code": refusal.code, "msg": refusal.message}).encode()
            send(handler, _STATUS[refusal.code], text, "application/json")
        else:
            send(handler, 200, result, "application/protobuf")

    def _call(self, path: str, authorization: str, body: bytes) -> bytes:
        method = path.removeprefix(SERVICE)
        if path == method or method not in _METHODS:
            raise Refusal("bad_route", f"no handler for path {path}")
        request_type, grant = _METHODS[method]
        grants = self._grants(authorization)
        request = request_type.FromString(body)
        self.calls.append(Call(method, request.room, grants))
        if not grants.get(grant) or (grant == "roomAdmin" and grants.get("room") != request.room):
            raise Refusal("unauthenticated", "permissions denied")
        if request.room not in self.rooms:
            raise Refusal("not_found", "requested room does not exist")
        if method == "DeleteRoom":
            self.rooms.discard(request.room)
            return api.DeleteRoomResponse().SerializeToString()
        return self._of_participant(method, request)

    def _of_participant(self, method: str, request: Any) -> bytes:
        who = (request.room, request.identity)
        if who not in self.people:
            raise Refusal("not_found", "participant does not exist")
        person = self.people[who]
        if method == "RemoveParticipant":
            del self.people[who]
            return api.RemoveParticipantResponse().SerializeToString()
        if method == "UpdateParticipant":
            person.permission.CopyFrom(request.permission)  # all fields: what is not said is taken away
            allowed = set(request.permission.can_publish_sources)
            kept = [t for t in person.tracks if request.permission.can_publish and (not allowed or t.source in allowed)]
            del person.tracks[:]
            person.tracks.extend(kept)
        if method == "MutePublishedTrack":
            track = next((t for t in person.tracks if t.sid == request.track_sid), None)
            if track is None:
                raise Refusal("not_found", "track does not exist")
            track.muted = request.muted
            return api.MuteRoomTrackResponse(track=track).SerializeToString()
        return person.SerializeToString()

    def _grants(self, authorization: str) -> dict[str, Any]:
        token = authorization.removeprefix("Bearer ")
        try:
            key = jwt.decode(token, options={"verify_signature": False})["iss"]
            claims = jwt.decode(token, self._keys[key], algorithms=["HS256"], options={"require": ["exp"]})
        except (jwt.PyJWTError, KeyError):
            raise Refusal("unauthenticated", "invalid authorization token") from None
        grants: dict[str, Any] = claims.get("video", {})
        return grants


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def answers(status: int, body: bytes, content_type: str = "application/json") -> Callable[..., bool]:
    """Return the fault of answering this, whatever was asked."""

    def fault(handler: BaseHTTPRequestHandler) -> bool:
        send(handler, status, body, content_type)
        return True

    return fault


def hangs_up(handler: BaseHTTPRequestHandler) -> bool:
    """Be the fault of closing the connection without an answer."""
    handler.close_connection = True
    return True


def is_slow(seconds: float) -> Callable[..., bool]:
    """Return the fault of answering late. Ends early when the caller has gone away by itself."""

    def fault(handler: BaseHTTPRequestHandler) -> bool:
        handler.connection.settimeout(seconds)
        try:
            handler.connection.recv(1)
        except OSError:
            return False
        handler.close_connection = True
        return True

    return fault
