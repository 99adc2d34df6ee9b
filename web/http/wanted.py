"""What a request says: its fields, judged by the schemas of a door, and under which key it may be sent again."""

from typing import Any

from flask import request
from marshmallow import ValidationError

from shared.core import errors, strict_json
from shared.core.idempotency import MAX_KEY_LENGTH
from shared.core.idempotency import Request as KeyedRequest
from web.http.limits import address
from web.http.schema import Schema, messages_of
from web.http.tokens import Claims

READING = ("GET", "HEAD")


def wanted_by(takes: Schema, query: Schema | None) -> dict[str, Any]:
    """Return the fields of body and query string. Raises ValidationFailed, UnsupportedMediaType, MalformedBody."""
    try:
        wanted = dict(takes.load(_body())) if request.method not in READING else {}
        if query is not None:
            wanted.update(query.load(_query()))
        elif request.args:
            raise ValidationError({name: ["Unknown field."] for name in request.args})
    except ValidationError as broken:
        raise errors.ValidationFailed(details=messages_of(broken)) from None
    return wanted


def _body() -> Any:
    raw = request.get_data(cache=True)
    if not raw:
        return {}
    if not request.is_json:
        raise errors.UnsupportedMediaType
    try:
        body = strict_json.loads(raw)
    except strict_json.MalformedJson as broken:
        raise errors.MalformedBody(str(broken)) from None
    except strict_json.RefusedJson as refused:
        raise errors.ValidationFailed(details={"_schema": [str(refused)]}) from None
    if not isinstance(body, dict):
        raise errors.ValidationFailed(details={"_schema": ["Send a JSON object."]})
    return body


def _query() -> dict[str, str]:
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise ValidationError({name: ["Give it once."] for name in repeated})
    if any("\0" in text for pair in request.args.items() for text in pair):
        raise ValidationError({"_schema": ["NUL is not allowed."]})
    return request.args.to_dict()


def keyed_request(claims: Claims | None) -> KeyedRequest | None:
    """Return under which key a POST may be sent again; None without one. Raises ValidationFailed."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise errors.ValidationFailed(details={"Idempotency-Key": [f"Must have 1 to {MAX_KEY_LENGTH} characters."]})
    # Somebody without a credential is told apart by address, or two strangers could read each other's answers.
    caller = claims.subject if claims else f"anyone at {address()}"
    return KeyedRequest(caller, request.path, key, request.get_data(cache=True))
