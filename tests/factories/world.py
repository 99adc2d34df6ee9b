"""People and meetings for tests: made by the services, spoken to over HTTP in this process."""

import itertools
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from shared.core.ids import new_id
from shared.identity import service as identity
from shared.identity.actor import Actor
from shared.runtime import Runtime
from web.http import tokens

_count = itertools.count(1)
API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: Any
    headers: Any

    @property
    def data(self) -> Any:
        """Return `data`, which only a success has."""
        assert self.status < 400, self.body
        return self.body["data"]

    @property
    def code(self) -> Any:
        """Return the error code."""
        return self.body.get("code")


class Person:
    """Somebody with a token (or `token=None`: nobody), who sends requests."""

    def __init__(self, client: FlaskClient, token: str | None, actor: Actor | None, email: str = "") -> None:
        self._client = client
        self.token = token
        self.actor = actor
        self.email = email
        self.name = actor.name if actor else ""
        self.id = actor.key if actor else ""

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send a request below /api/v1."""
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None:
            options["json"] = body
        response = self._client.open(f"{API}{path}", method=method, headers=headers, **options)
        return Answer(response.status_code, response.get_json(silent=True), response.headers)

    def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """POST; without a body an empty object."""
        return self.call("POST", path, {} if body is None and "data" not in options else body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT."""
        return self.call("PUT", path, body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Answer:
        """PATCH."""
        return self.call("PATCH", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        """DELETE."""
        return self.call("DELETE", path, **options)


class World:
    """Makes what a test needs. Everybody is new, so tests do not meet each other's people."""

    def __init__(self, app: Flask, runtime: Runtime) -> None:
        self.app = app
        self.runtime = runtime

    def person(self, name: str = "", *, email: str | None = None) -> Person:
        """Return somebody with an account and an open session."""
        name = name or f"Person {next(_count)}"
        address = email or f"{new_id().lower()}@example.com"
        with self.runtime.transaction() as tx:
            session = identity.register(tx, address, name, "not a hash")
        with self.app.app_context():
            token = tokens.sign("access", session.user_id, session.session_id, 900)
        actor = Actor(name=name, user_id=session.user_id, email=address, session_id=session.session_id)
        return Person(self.app.test_client(), token, actor, address)

    def guest(self, token: str) -> Person:
        """Return somebody with a guest token."""
        return Person(self.app.test_client(), token, None)

    def nobody(self) -> Person:
        """Return somebody without any credential."""
        return Person(self.app.test_client(), None, None)

    def meeting(self, host: Person, *, start: bool = True, **wishes: Any) -> str:
        """Make a meeting, started unless said otherwise; return its id."""
        meeting_id: str = host.post("/meetings", {"title": "A meeting", **wishes}).data["meeting_id"]
        if start:
            assert host.post(f"/meetings/{meeting_id}/start").status == 200
        return meeting_id

    def inside(self, meeting_id: str, *people: Person) -> list[dict[str, Any]]:
        """Let people join; return their seats."""
        return [person.post(f"/meetings/{meeting_id}/join").data for person in people]
