"""What every answer must look like (contract 1)."""

import re
from typing import Any

from shared.core.errors import CATALOGUE
from shared.core.ids import new_id
from tests.factories.world import Answer

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FAILURE = {"status", "message", "code", "details", "timestamp", "request_id"}


def check_failure(answer: Answer, status: int, code: str) -> Answer:
    """Check that an answer is a failure in the envelope of contract 1, and return it."""
    body = answer.body
    assert (answer.status, body and body["code"]) == (status, code), body
    assert set(body) == FAILURE
    assert body["status"] == "error"
    assert body["message"]
    assert isinstance(body["details"], dict)
    assert TIME.fullmatch(body["timestamp"])
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert CATALOGUE[code].status == status
    assert answer.headers["Content-Type"] == "application/json"
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    return answer


def check_success(answer: Answer, status: int = 200, *, is_list: bool = False) -> Any:
    """Check that an answer is a success in the envelope of contract 1, and return its data."""
    body = answer.body
    assert answer.status == status, body
    assert set(body) == {"status", "message", "data", "timestamp"} | ({"pagination"} if is_list else set())
    assert body["status"] == "success"
    assert body["message"]
    assert TIME.fullmatch(body["timestamp"])
    return body["data"]


def without_what_differs(answer: Answer) -> tuple[Any, ...]:
    """Return all of an answer that two refusals must have in common."""
    body = {name: value for name, value in answer.body.items() if name not in ("timestamp", "request_id")}
    headers = sorted((name, value) for name, value in answer.headers if name not in ("X-Request-ID", "Date"))
    return answer.status, body, headers


def account(**changes: Any) -> dict[str, Any]:
    """Return what a new person sends to register."""
    return {"email": f"{new_id().lower()}@example.com", "name": "Ada", "password": "correct horse battery", **changes}
