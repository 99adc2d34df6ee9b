"""What LiveKit reports (contract 9): is it LiveKit's, and what does it say?

The `Authorization` header is a JWT without "Bearer", signed with our API secret, whose claim `sha256` is the hash of
the body (github.com/livekit/protocol, package webhook). It is read here and not by livekit-api's WebhookReceiver: that
one compares hashes in a time that tells where they differ, raises bare Exceptions, and costs a web process 30 MiB.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from shared.core.settings import Settings

LEEWAY_SECONDS = 60  # as LiveKit's own verifier
LONGEST = 256  # of room names and identities: LiveKit's own limit
LONGEST_ID = 64


class NotFromLiveKit(Exception):
    """LiveKit has not signed this. The text says what is wrong, for the log."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something that LiveKit says has happened.

    `room` and `identity` are empty where the event is about none. `sources` are what the participant may publish, in
    our words, None where the event does not say. `body` is all of it, as it came.
    """

    id: str
    type: str
    room: str
    identity: str
    sources: frozenset[str] | None
    body: str

    @property
    def digest(self) -> str:
        """Return the hash of the body, in hexadecimal."""
        return hashlib.sha256(self.body.encode()).hexdigest()


def verify(settings: Settings, body: bytes, token: str) -> Report:
    """Return what LiveKit reports. Raises NotFromLiveKit."""
    if not settings.has_livekit:
        raise NotFromLiveKit("LiveKit is not configured")
    try:
        claims = jwt.decode(
            token,
            settings.livekit_api_secret,
            algorithms=["HS256"],
            issuer=settings.livekit_api_key,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss"]},
        )
        signed = base64.b64decode(claims["sha256"], validate=True)
    except (jwt.PyJWTError, binascii.Error, ValueError, TypeError, KeyError, OverflowError) as broken:
        raise NotFromLiveKit(f"{type(broken).__name__}: {broken}") from None
    if not hmac.compare_digest(signed, hashlib.sha256(body).digest()):
        raise NotFromLiveKit("the body is not the one that was signed")
    return read(body)


def read(body: bytes) -> Report:
    """Return what a body says that LiveKit has signed. Raises NotFromLiveKit when it is no event."""
    try:
        text = body.decode()
        event = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise NotFromLiveKit(f"{type(broken).__name__}: {broken}") from None
    event = _object(event)
    id_, type_ = _text(event.get("id"), LONGEST_ID), _text(event.get("event"), LONGEST_ID)
    if not id_ or not type_:
        raise NotFromLiveKit("an event has an id and a type")
    room, participant = _object(event.get("room")), _object(event.get("participant"))
    return Report(
        id=id_,
        type=type_,
        room=_text(room.get("name"), LONGEST),
        identity=_text(participant.get("identity"), LONGEST),
        sources=_sources(participant.get("permission")),
        body=text,
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any, longest: int) -> str:
    """Return a text that a database takes and that can be one of our names; else the empty one, which is none."""
    return value if isinstance(value, str) and len(value) <= longest and value.isprintable() else ""


def _sources(permission: Any) -> frozenset[str] | None:
    if not isinstance(permission, dict) or not isinstance(permission.get("canPublishSources"), list):
        return None  # an empty list is left out of the JSON: then it may be everything, or nothing
    return frozenset(str(source).lower() for source in permission["canPublishSources"])
