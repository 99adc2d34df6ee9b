"""The handshake: every question is asked, and every refusal given as an HTTP answer, before the upgrade.

flask-sock accepts the WebSocket before the view runs (promises M18), so this runs as a before_request hook.
"""

import base64
import binascii
import re
from typing import Any

from flask import Flask, g, request

from shared.core.errors import (
    BadRequest,
    DomainError,
    InsufficientPermission,
    RateLimitExceeded,
    ServiceUnavailable,
    ValidationFailed,
)
from shared.identity.actor import Actor
from shared.identity.errors import KeyNotAccepted
from shared.participants.arrivals import Arrival
from shared.participants.permissions import MEETING_LISTEN
from shared.policies import cache as policy_cache
from web.http.actor import bearer, has_credential
from web.http.limits import address
from web.http.refusals import current_refusals
from web.http.runtime import current_runtime
from web.realtime.hub import Hub
from web.realtime.reception import Handshake, Newcomer, Reception

ENDPOINT = "realtime.meeting_socket"
_SINCE = re.compile(r"([a-z]+(?::[0-9A-Z]{26})?):([0-9]{1,20})")


def install(app: Flask, hub: Hub, reception: Reception) -> None:
    """Guard the WebSocket endpoint: who may pass is found in `g.handshake`."""

    def guard() -> None:
        if request.endpoint != ENDPOINT or request.routing_exception is not None:
            return
        _check_protocol()
        _check_origin()
        _check_room(hub)
        g.handshake = _receive(reception, (request.view_args or {})["meeting_id"])
        _strip(request.environ)

    app.before_request(guard)


def _receive(reception: Reception, meeting_id: str) -> Handshake:
    """Examine who comes, and let the audit trail know of somebody known who is refused.

    Whose a ticket was, nobody knows any more when it is refused: it is used up.
    """
    actor: Actor | None = None
    try:
        newcomer = _newcomer(meeting_id)
        one = newcomer.arrival
        if one.ticket is None:
            actor = Actor(name="", user_id=one.user_id, participant_id=one.participant_id, meeting_id=one.guest_of)
        handshake = reception.receive(newcomer)
    except DomainError as refusal:
        if isinstance(refusal, KeyNotAccepted):
            actor = Actor(name="", user_id=refusal.owner_id)
        if actor is not None:  # a 403 or 404 is given only to who was found to be who they say
            current_refusals().note(refusal, meeting_id, actor, MEETING_LISTEN, "WS /ws/meetings/<meeting_id>")
        raise
    policy_cache.warm(current_runtime().tools.cache, meeting_id)  # the first frame will ask for it
    return handshake


def _strip(environ: dict[str, Any]) -> None:
    """Leave of the headers what the upgrade needs. simple-websocket parses them all again, and fails where it is
    stricter than the server was; and no extension is negotiated: compression that is shared by all frames of a socket
    would need a lock for each of them, and 2.5 times the CPU."""
    key = environ["HTTP_SEC_WEBSOCKET_KEY"]
    for name in [name for name in environ if name.startswith("HTTP_")]:
        del environ[name]
    environ.update(
        HTTP_HOST="parley",
        HTTP_UPGRADE="websocket",
        HTTP_CONNECTION="Upgrade",
        HTTP_SEC_WEBSOCKET_VERSION="13",
        HTTP_SEC_WEBSOCKET_KEY=key,
    )


def _check_protocol() -> None:
    if request.method != "GET" or not _says("Upgrade", "websocket") or not _says("Connection", "upgrade"):
        raise BadRequest("This address speaks WebSocket: send GET with Connection: Upgrade, Upgrade: websocket.")
    if request.headers.get("Sec-WebSocket-Version", "").strip() != "13":
        raise BadRequest("Only WebSocket version 13 is spoken here.")
    try:
        nonce = base64.b64decode(request.headers.get("Sec-WebSocket-Key", ""), validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != 16:
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.")


def _says(header: str, word: str) -> bool:
    return word in (said.strip().lower() for said in request.headers.get(header, "").split(","))


def _check_origin() -> None:
    """Browsers always say where a page comes from; only listed pages may connect. No Origin needs a Bearer token."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    settings = current_runtime().settings
    allowed = {*settings.allowed_origins, settings.base_url.rstrip("/")}
    if origin not in allowed:
        raise InsufficientPermission("Pages of this origin may not connect.", details={"origin": origin[:200]})


def _check_room(hub: Hub) -> None:
    settings = current_runtime().settings
    if hub.is_draining or len(hub.connections) >= settings.ws_max_connections:
        raise ServiceUnavailable("This process takes no more connections; try again.")
    if hub.count_from(address()) >= settings.ws_max_per_address:
        raise RateLimitExceeded("Too many connections from your address.", retry_after_seconds=5)


def _newcomer(meeting_id: str) -> Newcomer:
    """Read who this says to be. Raises Unauthenticated, TokenExpired, ValidationFailed."""
    ticket = request.args.get("ticket")
    claims = None if ticket is not None and not has_credential() else bearer("access", "guest")
    unknown = set(request.args) - {"ticket", "since", "epoch"}
    if unknown:
        raise ValidationFailed(details={name: ["Unknown field."] for name in sorted(unknown)})
    since = _parse_since(request.args.get("since"))
    epoch = request.args.get("epoch")
    if claims is None:
        return Newcomer(Arrival(meeting_id, ticket=ticket or ""), since, epoch, address())
    if claims.kind == "guest":
        arrival = Arrival(meeting_id, participant_id=claims.subject, guest_of=claims.reference)
    else:
        arrival = Arrival(meeting_id, user_id=claims.subject, session_id=claims.reference)
    return Newcomer(arrival, since, epoch, address(), claims.expires_at.timestamp())


def _parse_since(text: str | None) -> dict[str, int]:
    """Read `meeting:120,me:4`. Raises ValidationFailed for anything else."""
    if text is None:
        return {}
    cursors: dict[str, int] = {}
    for part in text.split(","):
        matched = _SINCE.fullmatch(part)
        if matched is None or matched[1] in cursors:
            raise ValidationFailed(details={"since": ["Must look like meeting:120,me:4."]})
        cursors[matched[1]] = int(matched[2])
    return cursors
