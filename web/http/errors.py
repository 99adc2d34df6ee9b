"""Every failure in one envelope: ours, the framework's, and those nobody thought of."""

import logging

from flask import Flask, Response, request
from flask_limiter import RateLimitExceeded as LimitHit
from werkzeug.exceptions import HTTPException

from shared.core import errors
from shared.core.database import TransactionConflict
from web.http.limits import refusal_of
from web.http.reply import failure_response

log = logging.getLogger(__name__)

_BY_STATUS: dict[int, type[errors.DomainError]] = {
    400: errors.BadRequest,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    429: errors.RateLimitExceeded,
    500: errors.InternalError,
    503: errors.ServiceUnavailable,
}


def install(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(errors.DomainError, failure_response)
    app.register_error_handler(LimitHit, _on_limit)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(TransactionConflict, _on_conflict)
    app.register_error_handler(Exception, _on_bug)


def _on_limit(hit: LimitHit) -> Response:
    return failure_response(refusal_of(hit))


def _on_http_exception(error: HTTPException) -> Response:
    kind = _BY_STATUS.get(error.code or 500)
    if kind is None:
        kind = errors.BadRequest if (error.code or 500) < 500 else errors.InternalError
    response = failure_response(kind())
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _on_conflict(_: TransactionConflict) -> Response:
    return failure_response(errors.ServiceUnavailable("Too many changes at once; try again."))


def _on_bug(error: Exception) -> Response:
    log.error("unhandled_exception", exc_info=error, extra={"path": request.path, "method": request.method})
    return failure_response(errors.InternalError())
