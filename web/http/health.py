"""Health (contract 1): is the process alive, and are the parts there that it needs?"""

import redis
from flask import Blueprint, Response

from shared.core import vitals
from shared.core.errors import ServiceUnavailable
from shared.realtime.broker import quick_client
from web.http.reply import json_response, success_body
from web.http.runtime import current_runtime

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer 200 as long as this process serves requests; asks nobody."""
    return json_response(success_body({"alive": True}, "OK"), 200)


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer 200 when database, Redis and a worker answer; 503 naming the part that does not."""
    parts = {"database": False, "redis": _redis_answers(), "worker": False}
    runtime = current_runtime()
    try:
        with runtime.reading() as tx:
            parts["worker"] = vitals.is_alive(tx.connection, vitals.WORKER, tx.now)
            parts["database"] = True
    except ServiceUnavailable:
        pass
    missing = [name for name, answers in parts.items() if not answers]
    if missing:
        raise ServiceUnavailable(f"Not ready: {', '.join(missing)} does not answer.", details=parts)
    return json_response(success_body(parts, "Ready."), 200)


def _redis_answers() -> bool:
    try:
        with quick_client(current_runtime().settings.redis_url, timeout=0.5) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
