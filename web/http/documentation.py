"""What the OpenAPI document says about a door: made from its declaration, so that it cannot differ."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import marshmallow as ma
from flask_smorest import Blueprint

from shared.core import errors
from shared.core.idempotency import MAX_KEY_LENGTH
from shared.identity.errors import InsufficientScope, KeyNotAccepted, TokenExpired, TokenRevoked, Unauthenticated
from web.http.schema import Schema

if TYPE_CHECKING:
    from web.http.door import Door

_COMMON = (errors.ValidationFailed, errors.RateLimitExceeded, errors.InternalError, errors.ServiceUnavailable)
_OF_CREDENTIAL = (Unauthenticated, TokenExpired, TokenRevoked)
_OF_BODY = (errors.MalformedBody, errors.PayloadTooLarge, errors.UnsupportedMediaType)
_ENVELOPES: dict[tuple[type[Schema], bool], type[Schema]] = {}


class Pagination(Schema):
    """Where the next page begins; `next_cursor` is null on the last one."""

    limit = ma.fields.Integer(required=True)
    next_cursor = ma.fields.String(required=True, allow_none=True)


class Failure(Schema):
    """Every failure has this shape."""

    status = ma.fields.Constant("error", required=True, metadata={"type": "string", "enum": ["error"]})
    message = ma.fields.String(required=True)
    code = ma.fields.String(required=True)
    details = ma.fields.Dict(required=True)
    timestamp = ma.fields.DateTime(required=True)
    request_id = ma.fields.String(required=True, allow_none=True)


def envelope_of(data: Schema, many: bool) -> type[Schema]:
    """Return the schema of a whole success body around a schema of `data`."""
    key = (type(data), many)
    if key not in _ENVELOPES:
        name = type(data).__name__ + ("List" if many else "")
        parts: dict[str, Any] = {
            "status": ma.fields.Constant("success", required=True, metadata={"type": "string", "enum": ["success"]}),
            "message": ma.fields.String(required=True),
            "data": ma.fields.Nested(type(data), many=many, required=True, allow_none=True),
            "timestamp": ma.fields.DateTime(required=True),
            "code": ma.fields.String(),
        }
        if many:
            parts["pagination"] = ma.fields.Nested(Pagination)
        _ENVELOPES[key] = type(f"{name}Answer", (Schema,), parts)
    return _ENVELOPES[key]


def describe(
    view: Callable[..., Any], method: str, made: "Door", also: dict[int, str], has_body: bool
) -> Callable[..., Any]:
    """Attach the documentation of a door to its view."""
    doc: dict[str, Any] = {"responses": _responses(method, made, also)}
    doc.update(_security(made))
    if has_body:
        needed = any(field.required for field in made.takes.fields.values())
        doc["requestBody"] = {"content": {"application/json": {"schema": type(made.takes)}}, "required": needed}
    if made.query is not None:
        doc["parameters"] = [{"in": "query", "schema": type(made.query)}]
    if method == "POST":
        length = {"minLength": 1, "maxLength": MAX_KEY_LENGTH}
        key = {"in": "header", "name": "Idempotency-Key", "schema": {"type": "string", **length}}
        doc.setdefault("parameters", []).append(key)
    described: Callable[..., Any] = Blueprint.doc(**doc)(view)
    return described


def _security(made: "Door") -> dict[str, Any]:
    """Return how to be somebody at a door, and what one must be allowed to do."""
    ways: list[dict[str, list[str]]] = [{"bearer": []}]
    told = "API keys are not accepted."
    doc: dict[str, Any] = {}
    if made.scopes:
        ways.append({"api_key": list(made.scopes)})
        told = f"An API key needs {' and '.join(f'`{scope}`' for scope in made.scopes)}."
        doc["x-required-scope"] = list(made.scopes)
    if made.permission is not None:
        doc["x-permission"] = made.permission.name
    _, _, said = (inspect.getdoc(made.function) or "").partition("\n\n")
    doc["description"] = f"{said}\n\n{told}".strip()
    doc["security"] = [{}, *ways] if made.who == "anyone" else ways
    return doc


def _responses(method: str, made: "Door", also: dict[int, str]) -> dict[str, Any]:
    success = {"application/json": {"schema": envelope_of(made.gives, made.many)}}
    responses: dict[str, Any] = {str(made.status): {"description": made.message, "content": success}}
    for status, meaning in also.items():
        responses[str(status)] = {"description": meaning, "content": success}
    refusals: tuple[type[errors.DomainError], ...] = (*_COMMON, *_OF_CREDENTIAL, *made.refusals)
    refusals += (InsufficientScope if made.scopes else KeyNotAccepted,)
    if method != "GET":
        refusals += _OF_BODY
    if method == "POST":
        refusals += (errors.IdempotencyKeyReused, errors.IdempotencyInProgress)
    by_status: dict[int, list[str]] = {}
    for refusal in refusals:
        if refusal.code not in by_status.setdefault(refusal.status, []):
            by_status[refusal.status].append(refusal.code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in sorted(codes)),
            "content": {"application/json": {"schema": Failure}},
        }
    return responses
