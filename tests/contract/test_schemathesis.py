"""The API keeps to its own document, whatever is sent: requests made from the OpenAPI document, right and wrong."""

import os
from collections import Counter
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
TAGS = [
    *("auth", "api-keys", "meetings", "policies", "audit", "card"),
    *("participants", "moderation", "jobs", "chat", "signals", "livekit", "webhooks"),
]
# Nothing is sent there that could be wrong.
TAKES_NOTHING = {"card", "jobs"}
# Ids cannot be guessed.
FINDS_NOTHING = {"jobs"}


@pytest.fixture
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
        """Send a request and hold the answer against the document."""
        if self._token is None:
            self._begin()
        if "meeting_id" in case.path_parameters:
            case.path_parameters["meeting_id"] = self._meeting
        token = self._refresh_token() if case.path.endswith("/auth/refresh") else self._token
        response = case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)
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


def test_every_operation_is_in_one_of_the_groups(document: Any):
    assert {tag for result in document.get_all_operations() for tag in result.ok().tags} == set(TAGS)


@pytest.mark.parametrize("tag", TAGS)
def test_requests_made_from_the_document_are_answered_as_it_says(document: Any, world: World, tag: str):
    sender = Sender(world)
    group = document.include(tag=tag)
    for found in get_all_tests(schema=group, test_func=sender.send, settings=BOUNDED, given_kwargs=None):
        assert isinstance(found, Ok), found
        found.ok()[1]()
    assert tag in FINDS_NOTHING or sender.statuses[200] + sender.statuses[201] > 0, sender.statuses
    assert (sender.statuses[422] > 0) == (tag not in TAKES_NOTHING), sender.statuses
