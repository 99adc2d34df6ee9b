"""Rate limits (contract 1): declared here by name, counted in Redis, in the process while Redis is away."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import ParamSpec, TypeVar

from flask import Flask, g, request
from flask_limiter import Limiter
from flask_limiter import RateLimitExceeded as LimitHit
from limits import parse

from shared.core.errors import RateLimitExceeded
from shared.core.settings import Settings
from shared.realtime.envelope import timestamp
from web.http.runtime import current_runtime

P = ParamSpec("P")
R = TypeVar("R")
PREFIX = "parley"

# name of the limit -> the setting that holds it
LIMITS = {
    "meetings": "ratelimit_meetings",
    "participants": "ratelimit_participants",
    "status": "ratelimit_status",
    "chat": "ratelimit_chat",
    "login": "ratelimit_login",
    "register": "ratelimit_register",
    "reads": "ratelimit_reads",
    "card": "ratelimit_card",
    "misses": "ratelimit_misses",
}

limiter = Limiter(
    key_func=lambda: g.limit_key,
    headers_enabled=True,
    strategy="fixed-window",
    in_memory_fallback_enabled=True,
    swallow_errors=True,
)


def install(app: Flask, settings: Settings) -> None:
    """Configure the limiter. A slow Redis costs a request 0.2 s once, and then nothing until it is back."""
    app.config.update(
        RATELIMIT_ENABLED=settings.ratelimit_enabled,
        RATELIMIT_STORAGE_URI=settings.redis_url,
        RATELIMIT_STORAGE_OPTIONS={"socket_timeout": 0.2, "socket_connect_timeout": 0.2},
        RATELIMIT_KEY_PREFIX=PREFIX,
    )
    limiter.init_app(app)


def limited(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` counted against a limit, by `g.limit_key`, each time it is called.

    The counted function raises flask_limiter.RateLimitExceeded. Its name must be unique in the application.
    """
    attribute = LIMITS[name]
    counted: Callable[P, R] = limiter.shared_limit(lambda: getattr(current_runtime().settings, attribute), scope=name)(
        function
    )
    return counted


def count_message(name: str, key: str) -> None:
    """Count what is no request, such as a WebSocket message, against a limit. Raises RateLimitExceeded."""
    settings = current_runtime().settings
    if not settings.ratelimit_enabled:
        return
    limit = parse(getattr(settings, LIMITS[name]))
    try:
        if limiter.limiter.hit(limit, PREFIX, key, name):
            return
        reset_at = limiter.limiter.get_window_stats(limit, PREFIX, key, name).reset_time
    except Exception:  # the store is away; the connection's own bucket still holds
        return
    raise too_many(limit.amount, limit.get_expiry(), reset_at)


def address() -> str:
    """Return the client's address, as far as the configured proxies are to be believed."""
    return request.remote_addr or "unknown"


def client() -> str:
    """Return what somebody without a credential is counted by: the address, of IPv6 the /64 that one customer has."""
    text = address()
    try:
        ip = ip_address(text)
    except ValueError:
        return text
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ip_network((int(ip), 64), strict=False))


def refusal_of(hit: LimitHit) -> RateLimitExceeded:
    """Turn the limiter's exception into ours."""
    item = hit.limit.limit
    current = limiter.current_limit
    reset_at = current.reset_at if current else time.time() + item.get_expiry()
    return too_many(item.amount, item.get_expiry(), reset_at)


def too_many(limit: int, window: int, reset_at: float) -> RateLimitExceeded:
    """Return the refusal of more than `limit` in `window` seconds; `reset_at`, a POSIX time, goes out as RFC 3339."""
    details = {"limit": limit, "window": window, "reset_at": timestamp(datetime.fromtimestamp(reset_at, UTC))}
    return RateLimitExceeded(details=details, retry_after_seconds=max(1, math.ceil(reset_at - time.time())))
