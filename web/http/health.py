"""Health (contract 1): is the process alive, and are the parts there that it needs?"""

from typing import Any

import redis
from flask import Blueprint, Flask, Response, current_app

from shared.core import outbox, vitals
from shared.core.errors import DomainError, ServiceUnavailable
from shared.core.patience import Question
from shared.core.quick_redis import quick_client
from shared.runtime import Runtime
from web.http.reply import json_response, success_body
from web.http.runtime import current_runtime

blueprint = Blueprint("health", __name__)

# A database that hangs is noticed by its driver after 6.5 s, and must be told of within five (promises P28).
PATIENCE_SECONDS = 2.0
_NAME = "parley-health"


def install(app: Flask, runtime: Runtime) -> None:
    """Register the routes."""
    app.extensions[_NAME] = Question("health-database", lambda: _look(runtime))
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer 200 as long as this process serves requests; asks nobody."""
    return json_response(success_body({"alive": True}, "OK"), 200)


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer 200 when database, Redis and a worker answer; 503 naming the part that does not.

    `ages`, in seconds, tells of the oldest job that is not done, and when a worker last did what beat had sent. They
    make nothing unready: a web process that is taken out of rotation would not make them younger.
    """
    parts = {"database": False, "redis": _redis_answers(), "worker": False}
    ages: dict[str, Any] = {}
    try:
        parts["worker"], ages = current_app.extensions[_NAME].answer(PATIENCE_SECONDS)
        parts["database"] = True
    except (DomainError, TimeoutError):
        pass
    found = {**parts, **({"ages": ages} if ages else {})}
    missing = [name for name, answers in parts.items() if not answers]
    if missing:
        raise ServiceUnavailable(f"Not ready: {', '.join(missing)} does not answer.", details=found)
    return json_response(success_body(found, "Ready."), 200)


def _look(runtime: Runtime) -> tuple[bool, dict[str, float | None]]:
    """Return whether a worker is alive, and the ages."""
    with runtime.reading() as tx:
        seen = vitals.last_seen(tx.connection, vitals.WORKER)
        return vitals.has_worker(tx.connection, tx.now), {
            "outbox": round(outbox.oldest_pending_age(tx.connection, tx.now), 3),
            "beat": None if seen is None else round(max(0.0, (tx.now - seen).total_seconds()), 3),
        }


def _redis_answers() -> bool:
    try:
        with quick_client(current_runtime().settings.redis_url, timeout=0.5) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
