"""The door of LiveKit itself (contract 9): it has no account, signs what it sends, and is counted by no limit.

What is lost here LiveKit does not tell again, but for outages (503): a 4xx counts as delivered.
"""

import logging
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from shared.core import errors
from shared.identity.errors import Unauthenticated
from shared.livekit import inbox, webhooks
from shared.livekit.webhooks import NotFromLiveKit
from web.http.documentation import Failure, envelope_of
from web.http.reply import json_response, success_body
from web.http.runtime import current_runtime
from web.http.schema import Schema
from web.livekit.schemas import EventReceived

log = logging.getLogger(__name__)

MEDIA_TYPES = ("application/webhook+json", "application/json")
RECEIVED = "The event is stored."
_REFUSALS = (
    Unauthenticated,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.InternalError,
    errors.ServiceUnavailable,
)

blueprint = Blueprint("livekit-webhook", __name__, url_prefix="/api/v1/livekit", description="What LiveKit reports")


def _answer(meaning: str, schema: type[Schema]) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


@blueprint.route("/webhook", methods=["POST"], tags=["livekit"])
@blueprint.doc(
    security=[{"livekit": []}],
    requestBody={"required": True, "content": {MEDIA_TYPES[0]: {"schema": {"type": "object"}}}},
    responses={
        "200": _answer(RECEIVED, envelope_of(EventReceived(), many=False)),
        **{str(refusal.status): _answer(f"`{refusal.code}`", Failure) for refusal in _REFUSALS},
    },
)
def receive_event() -> Response:
    """Take an event of the LiveKit server

    Signed as LiveKit signs its webhooks. Stored once, whatever it is about, and worked on by a worker; the same event
    again is 200 and does nothing. A forged one, or one whose id came with another body, is 401.
    """
    runtime = current_runtime()
    try:
        report = webhooks.verify(runtime.settings, request.get_data(), request.headers.get("Authorization", ""))
        if request.mimetype not in MEDIA_TYPES:
            raise errors.UnsupportedMediaType(f"Send {MEDIA_TYPES[0]}.")
        with runtime.transaction() as tx:
            inbox.receive(tx, report)
    except NotFromLiveKit as refused:
        log.warning("livekit_webhook_refused", extra={"reason": str(refused)})
        raise Unauthenticated("LiveKit has not signed this.") from None
    return json_response(success_body({"event_id": report.id}, RECEIVED), 200)
