"""What happens around every request: its id, its log line, its metrics, and the headers of its answer."""

import logging
import re
import time
from base64 import b64encode
from hashlib import sha256

from flask import Flask, Request, Response, g, request
from flask.sessions import SessionInterface

from shared.core import tracing
from shared.core.ids import new_id
from shared.core.logging import bind_contextvars, clear_contextvars
from shared.core.metrics import REQUEST_SECONDS, REQUESTS
from shared.core.settings import Settings

log = logging.getLogger(__name__)

PROBES = ("/healthz", "/readyz", "/metrics")
MAX_BODY_BYTES = 1024 * 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_CSP = "default-src 'none'; frame-ancestors 'none'"
# Swagger UI sets styles and data: images from its own script; everything else comes from this origin. Of scripts in
# the page only the one that was written there runs, by its hash: the page keeps the reader's token.
_CSP_DOCS = (
    "default-src 'none'; script-src 'self' {}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class _NoSessions(SessionInterface):
    """Nothing is kept in cookies; Flask would look for one in every request."""

    def open_session(self, app: Flask, request: Request) -> None:
        """Open none."""


def install(app: Flask, settings: Settings) -> None:
    """Register the hooks."""
    app.session_interface = _NoSessions()
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(_end)
    if settings.is_production:
        app.after_request(_insist_on_https)


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
    g.began = time.perf_counter()
    clear_contextvars()
    meeting_id = (request.view_args or {}).get("meeting_id")
    bind_contextvars(request_id=g.request_id, **({"meeting_id": meeting_id} if meeting_id else {}))
    route = request.url_rule.rule if request.url_rule else "unknown"
    if "HTTP_UPGRADE" not in request.environ and route not in PROBES:
        g.span = tracing.span(f"{_method()} {route}", "server", request_id=g.request_id)
        g.span.__enter__()


def _end(_broken: BaseException | None) -> None:
    span = g.pop("span", None)
    if span is not None:
        span.__exit__(None, None, None)
    clear_contextvars()  # what this thread does next was not asked for by this request


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    response.headers.update(_HEADERS)
    if "Content-Security-Policy" not in response.headers:
        is_docs = request.endpoint in ("api-docs.openapi_swagger_ui",)
        response.headers["Content-Security-Policy"] = _csp_of_docs(response) if is_docs else _CSP
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    _measure(response)
    tracing.note("answered", status=response.status_code)
    return response


def _csp_of_docs(page: Response) -> str:
    hashes = [sha256(script).digest() for script in _INLINE_SCRIPT.findall(page.get_data())]
    return _CSP_DOCS.format(" ".join(f"'sha256-{b64encode(found).decode()}'" for found in hashes))


def _method() -> str:
    """Return the method, as a label: strangers may make up as many as they like."""
    return request.method if request.method in _METHODS else "other"


def _measure(response: Response) -> None:
    route = request.url_rule.rule if request.url_rule else "unknown"
    took = time.perf_counter() - g.get("began", time.perf_counter())
    REQUESTS.labels(_method(), route, response.status_code).inc()
    if "HTTP_UPGRADE" not in request.environ:  # a WebSocket lasts as long as its meeting
        REQUEST_SECONDS.labels(_method(), route).observe(took)
    if route in PROBES:
        return
    log.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "milliseconds": round(took * 1000, 1),
        },
    )


def _insist_on_https(response: Response) -> Response:
    response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return response
