"""Refusals: one class per error code, all in one catalogue.

A capability declares its refusals in its own `errors.py`; the class is the single place where code, HTTP status and
default message live. The OpenAPI table, the error reference and the client constants are generated from CATALOGUE.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

CATALOGUE: dict[str, type["DomainError"]] = {}


class DomainError(Exception):
    """A request that is refused. Carries what every door needs to answer it (contract section 1).

    `details` is a JSON object for the client; `retry_after_seconds` becomes the Retry-After header.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    message: ClassVar[str]
    retryable: ClassVar[bool] = False
    # What was written before the refusal stays: something is counted. Raise it before anything else is written.
    is_kept: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            return  # a narrower kind of a refusal that is already in the catalogue
        if cls.code in CATALOGUE:
            raise TypeError(f"error code {cls.code} is declared twice: {CATALOGUE[cls.code].__name__}, {cls.__name__}")
        CATALOGUE[cls.code] = cls

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        self.text = message or self.message
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.text)


class ValidationFailed(DomainError):
    """Well-formed input that breaks a rule; `details` maps a field to a list of messages."""

    code, status = "VALIDATION_ERROR", 422
    message = "Some fields are not as they should be."


class MalformedBody(DomainError):
    code, status = "MALFORMED_JSON", 400
    message = "The body is not valid JSON."


class BadRequest(DomainError):
    """A request that HTTP itself does not allow (a broken header, a bad host …)."""

    code, status = "BAD_REQUEST", 400
    message = "The request is malformed."


class NotFound(DomainError):
    code, status = "NOT_FOUND", 404
    message = "There is nothing at this address."


class MethodNotAllowed(DomainError):
    code, status = "METHOD_NOT_ALLOWED", 405
    message = "This address does not take that method."


class PayloadTooLarge(DomainError):
    code, status = "PAYLOAD_TOO_LARGE", 413
    message = "The body is larger than 1 MiB."


class UnsupportedMediaType(DomainError):
    code, status = "UNSUPPORTED_MEDIA_TYPE", 415
    message = "Send JSON with Content-Type: application/json."


class RateLimitExceeded(DomainError):
    code, status, retryable = "RATE_LIMIT_EXCEEDED", 429, True
    message = "Too many requests; try again later."


class InternalError(DomainError):
    code, status, retryable = "INTERNAL_ERROR", 500, True
    message = "Something went wrong on our side."


class ServiceUnavailable(DomainError):
    """A part that we need does not answer; nothing was changed or the outcome is unknown: retry with the same key."""

    code, status, retryable = "SERVICE_UNAVAILABLE", 503, True
    message = "The service cannot answer right now; try again."

    def __init__(self, message: str | None = None, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details, retry_after_seconds=1)


class IdempotencyKeyReused(DomainError):
    code, status = "IDEMPOTENCY_KEY_REUSED", 422
    message = "This Idempotency-Key was used with another body."


class IdempotencyInProgress(DomainError):
    code, status, retryable = "IDEMPOTENCY_IN_PROGRESS", 409, True
    message = "The first request with this Idempotency-Key is still running."


class InsufficientPermission(DomainError):
    code, status = "INSUFFICIENT_PERMISSION", 403
    message = "Your role does not allow this."


class WebSocketConnectionError(DomainError):
    code, status, retryable = "WEBSOCKET_CONNECTION_ERROR", 500, True
    message = "The WebSocket could not be set up."
