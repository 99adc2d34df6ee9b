"""What a LiveKit server sends to its webhook URL, made and signed as livekit/protocol's package webhook does."""

import base64
import hashlib
import time
from typing import Any

import jwt
from google.protobuf.json_format import MessageToJson
from livekit import api

from shared.core.ids import new_id
from shared.core.settings import Settings

CONTENT_TYPE = "application/webhook+json"


def event(kind: str, room: str, identity: str, *, id_: str = "", sources: list[str] | None = None) -> bytes:
    """Return the body of an event about a participant; `sources` None leaves the permission out."""
    person = api.ParticipantInfo(sid="PA_1", identity=identity, state=api.ParticipantInfo.State.ACTIVE)
    if sources is not None:
        permission = api.ParticipantPermission(
            can_publish=bool(sources), can_publish_sources=[getattr(api.TrackSource, s.upper()) for s in sources]
        )
        person.permission.CopyFrom(permission)
    message = api.WebhookEvent(
        event=kind,
        id=id_ or f"EV_{new_id()[-12:]}",
        created_at=int(time.time()),
        room=api.Room(sid="RM_1", name=room),
        participant=person,
    )
    return MessageToJson(message, indent=None).encode()


def signature(settings: Settings, body: bytes, *, secret: str = "", **claims: Any) -> str:
    """Return what stands in `Authorization`; a claim given as None is left out."""
    now = int(time.time())
    said = {
        "iss": settings.livekit_api_key,
        "nbf": now,
        "exp": now + 300,
        "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        **claims,
    }
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(kept, secret or settings.livekit_api_secret, algorithm="HS256")


def headers(settings: Settings, body: bytes, **changes: Any) -> dict[str, str]:
    """Return the headers of a delivery; `changes` as for `signature`."""
    return {"Authorization": signature(settings, body, **changes), "Content-Type": CONTENT_TYPE}
