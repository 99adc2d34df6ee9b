"""The one envelope for every answer (contract 1)."""

from dataclasses import dataclass
from typing import Any

from flask import Response, g

from shared.core import strict_json
from shared.core.errors import DomainError
from shared.core.idempotency import StoredAnswer
from shared.realtime.envelope import timestamp
from web.http.runtime import current_runtime


@dataclass(frozen=True, slots=True)
class Reply:
    """What a door answers beside the plain data: another status, a code, a cursor, or a refusal.

    `refusal` is answered after the commit: for the rare change that must stay although the request is refused.
    """

    data: Any = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    pagination: dict[str, Any] | None = None
    refusal: DomainError | None = None


def success_body(
    data: Any, message: str, *, code: str | None = None, pagination: dict[str, Any] | None = None
) -> bytes:
    """Return the body of a success as JSON."""
    body: dict[str, Any] = {
        "status": "success",
        "message": message,
        "data": data,
        "timestamp": timestamp(current_runtime().now()),
    }
    if code is not None:
        body["code"] = code
    if pagination is not None:
        body["pagination"] = pagination
    return strict_json.dumps(body)


def failure_body(error: DomainError) -> bytes:
    """Return the body of a failure as JSON."""
    return strict_json.dumps(
        {
            "status": "error",
            "message": error.text,
            "code": error.code,
            "details": error.details,
            "timestamp": timestamp(current_runtime().now()),
            "request_id": g.get("request_id"),
        }
    )


def json_response(body: bytes, status: int) -> Response:
    """Return a JSON response."""
    response = Response(body, status=status, content_type="application/json")
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def replay(stored: StoredAnswer) -> Response:
    """Return the response to a request that was done before."""
    response = json_response(stored.body, stored.status)
    response.headers["Idempotency-Replayed"] = "true"
    return response


def failure_response(error: DomainError) -> Response:
    """Return the response to a refusal."""
    response = json_response(failure_body(error), error.status)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response
