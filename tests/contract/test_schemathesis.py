"""The API keeps to its own document, whatever is sent: requests made from the OpenAPI document, right and wrong."""

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from shared.core.ids import new_id
from shared.identity import service as identity
from tests.factories.world import API, World
from web.http import tokens

CHECKS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# PARLEY_TEST_EXAMPLES=500 looks further, and elsewhere each time.
EXAMPLES = int(os.environ.get("PARLEY_TEST_EXAMPLES", "0"))
BOUNDED = settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
OPERATIONS = [
    (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods if method != "parameters"
]
# Whether LiveKit says it is looked at before what it says.
SIGNED = ("post", f"{API}/livekit/webhook")
# What would have to be right there, hardly anybody guesses: an id, a secret, the address of a server, a state.
NEVER_RIGHT = {
    SIGNED,
    ("delete", f"{API}/meetings/{{meeting_id}}"),
    ("post", f"{API}/auth/login"),
    ("post", f"{API}/meetings/{{meeting_id}}/participants/batch"),
    ("post", f"{API}/meetings/{{meeting_id}}/start"),
    ("post", f"{API}/meetings/{{meeting_id}}/waiting-room/admit"),
    ("post", f"{API}/meetings/{{meeting_id}}/waiting-room/deny"),
    ("post", f"{API}/webhooks"),
}


@pytest.fixture(scope="module")
def document(app: Flask) -> Any:
    """The document as it is served, with the application that it describes."""
    return schemathesis.openapi.from_wsgi(f"{API}/openapi.json", app)


class Sender:
    """The host of a running meeting, who is inside. Begins anew whenever something was changed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._meeting = ""
        self._token: str | None = None
        self.statuses: Counter[int] = Counter()

    def send(self, case: schemathesis.Case) -> None:
        """Send a request, and hold the answer against the document."""
        if self._token is None:
            self._begin()
        if "meeting_id" in case.path_parameters:
            case.path_parameters["meeting_id"] = self._meeting
        token = self._refresh_token() if case.path.endswith("/auth/refresh") else self._token
        response = case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)
        if case.method == case.operation.method.upper():  # else it is a method that there is not
            self.statuses[response.status_code] += 1
        if case.method != "GET" and response.status_code < 300:
            self._token = None

    def _begin(self) -> None:
        host = self._world.person()
        self._meeting = self._world.meeting(host)
        self._world.inside(self._meeting, host)
        self._token = host.token

    def _refresh_token(self) -> str:
        with self._world.runtime.transaction() as tx:
            session = identity.register(tx, f"{new_id()}@example.com", "Ada", "not a hash")
        with self._world.app.app_context():
            return tokens.sign("refresh", session.user_id, session.session_id, 900, session.refresh_id)


def _can_be_right(method: str, path: str) -> bool:
    return (method, path) not in NEVER_RIGHT and not set(re.findall(r"{(\w+)}", path)) - {"meeting_id"}


def _can_be_wrong(method: str, path: str) -> bool:
    described = DOCUMENT["paths"][path][method]
    takes_something = "requestBody" in described or "parameters" in described  # those of the path are beside it
    return takes_something and (method, path) != SIGNED


# One test for each, so that none takes long.
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_requests_made_from_the_document_are_answered_as_it_says(document: Any, world: World, method: str, path: str):
    sender = Sender(world)
    found = list(
        get_all_tests(
            schema=document.include(method=method.upper(), path=path),
            test_func=sender.send,
            settings=BOUNDED,
            given_kwargs=None,
        )
    )
    assert len(found) == 1
    assert isinstance(found[0], Ok), found
    found[0].ok()[1]()
    assert not _can_be_right(method, path) or any(status < 300 for status in sender.statuses), sender.statuses
    assert (sender.statuses[422] > 0) == _can_be_wrong(method, path), sender.statuses
