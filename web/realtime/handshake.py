"""The handshake: every question is asked, and every refusal given as an HTTP answer, before the upgrade.

flask-sock accepts the WebSocket before the view runs (promises M18), so this runs as a before_request hook.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from flask import Flask, g, request

from shared.core import ledger
from shared.core.errors import (
    BadRequest,
    InsufficientPermission,
    RateLimitExceeded,
    ServiceUnavailable,
    ValidationFailed,
)
from shared.core.streams import meeting_stream, wire_name
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import TokenRevoked, Unauthenticated
from shared.identity.service import find_actor
from shared.participants.models import Participant
from shared.participants.queries import Membership, audible_streams, get_participant, may_resume
from shared.participants.tickets import get_listener, redeem
from shared.realtime.envelope import timestamp
from web.http.actor import actor_of, bearer, has_credential
from web.http.limits import address
from web.http.runtime import current_runtime
from web.realtime.hub import Hub

ENDPOINT = "realtime.meeting_socket"
_SINCE = re.compile(r"([a-z]+(?::[0-9A-Z]{26})?):([0-9]{1,20})")
WINDOW_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Handshake:
    """What was found out about a newcomer.

    `start` maps the keys of the streams to the number behind which they are heard; `cursors` is the same by wire
    name, as the welcome tells it. `recovered` is False when the newcomer came without cursors, or with some that
    cannot be continued (`needs_resync`).
    """

    actor: Actor
    participant: Participant
    expires_at: float
    start: dict[str, int]
    cursors: dict[str, int]
    epoch: str
    recovered: bool
    needs_resync: bool
    address: str


def install(app: Flask, hub: Hub) -> None:
    """Guard the WebSocket endpoint."""

    def guard() -> None:
        if request.endpoint != ENDPOINT or request.routing_exception is not None:
            return
        _check_protocol()
        _check_origin()
        _check_room(hub)
        g.handshake = _examine((request.view_args or {})["meeting_id"])
        _strip(request.environ)

    app.before_request(guard)


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


def _examine(meeting_id: str) -> Handshake:
    ticket = request.args.get("ticket")
    claims = None if ticket is not None and not has_credential() else bearer("access", "guest")
    unknown = set(request.args) - {"ticket", "since", "epoch"}
    if unknown:
        raise ValidationFailed(details={name: ["Unknown field."] for name in sorted(unknown)})
    since = _parse_since(request.args.get("since"))
    runtime = current_runtime()
    with runtime.transaction() if claims is None else runtime.reading() as tx:
        if claims is not None:
            actor, expires_at = actor_of(tx, claims), claims.expires_at.timestamp()
        else:
            actor, expires_at = _actor_of_ticket(tx, meeting_id, ticket or "")
        return _plan(tx, actor, get_listener(tx, meeting_id, actor), expires_at, since)


def _actor_of_ticket(tx: Transaction, meeting_id: str, ticket: str) -> tuple[Actor, float]:
    redeemed = redeem(tx, meeting_id, ticket)
    if redeemed is None:
        raise Unauthenticated("This ticket is unknown, used or expired.")
    expires_at = redeemed.token_expires_at.timestamp()
    if redeemed.session_id is not None:
        actor = find_actor(tx, redeemed.session_id)
        if actor is None:
            raise TokenRevoked
        return actor, expires_at
    guest = get_participant(tx, meeting_id, redeemed.participant_id)
    return Actor(name=guest.user_name, participant_id=guest.id, meeting_id=meeting_id), expires_at


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


def _plan(tx: Transaction, actor: Actor, membership: Membership, expires_at: float, since: dict[str, int]) -> Handshake:
    me = membership.me
    keys = audible_streams(me)
    names = {wire_name(key): key for key in keys}
    foreign = [name for name in since if name not in names]
    if foreign:
        raise ValidationFailed(details={"since": [f"You do not hear the stream {foreign[0]}."]})
    heads = ledger.heads(tx.connection, keys)
    epoch = ledger.epoch(tx.connection)
    wrong_epoch = request.args.get("epoch") not in (None, epoch)
    wanted = {names[name]: seq for name, seq in since.items()}
    good = not wrong_epoch and all(_continues(tx, membership, key, seq, heads[key]) for key, seq in wanted.items())
    start = {**heads, **(wanted if good else {})}
    return Handshake(
        actor=actor,
        participant=me,
        expires_at=expires_at,
        start=start,
        cursors={wire_name(key): seq for key, seq in heads.items()},
        epoch=epoch,
        recovered=bool(since) and good,
        needs_resync=bool(since) and not good,
        address=address(),
    )


def _continues(tx: Transaction, membership: Membership, key: str, seq: int, head: int) -> bool:
    """Tell whether everything behind `seq` is kept, was theirs to hear, and has happened already."""
    if seq > head or head - seq > WINDOW_EVENTS:
        return False
    if key == meeting_stream(membership.meeting.id) and not may_resume(tx, membership.me, seq):
        return False
    if seq == head or tx.now - membership.meeting.created_at <= ledger.WINDOW:  # nothing in it can be older
        return True
    oldest = ledger.read(tx.connection, key, seq, 1)
    return bool(oldest) and oldest[0].seq == seq + 1 and (tx.now - oldest[0].created_at) <= ledger.WINDOW


def welcome_of(handshake: Handshake, connection_id: str) -> dict[str, object]:
    """Return the `data` of the welcome frame."""
    settings = current_runtime().settings
    return {
        "connection_id": connection_id,
        "participant": handshake.participant.public(),
        "cursors": handshake.cursors,
        "epoch": handshake.epoch,
        "heartbeat": {"interval": settings.heartbeat_interval, "timeout": settings.heartbeat_timeout},
        "recovered": handshake.recovered,
        "time": timestamp(current_runtime().now()),
    }
