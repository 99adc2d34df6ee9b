"""Headers of every answer: security, CORS, and nothing about us (S129, S132)."""

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest

from shared.core.ids import new_id
from tests.factories.world import Person, World

ALLOWED = ["https://app.example.com", "https://meet.example.com:8443"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/auth/me"), ("GET", "/nowhere"), ("POST", "/meetings"), ("PUT", "/meetings"), ("GET", "/docs")],
)
def test_s132_security_headers_are_on_every_answer(host: Person, method: str, path: str):
    headers = host.call(method, path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "X-Powered-By" not in headers
    assert "Set-Cookie" not in headers


def test_s132_only_the_page_of_the_documents_may_run_scripts(world: World):
    client = world.app.test_client()
    assert "script-src 'self'" in client.get("/api/v1/docs").headers["Content-Security-Policy"]
    for path in ("/", "/healthz", "/api/v1/openapi.json", "/nowhere"):
        assert "script-src" not in client.get(path).headers["Content-Security-Policy"]


def test_s91_s132_of_scripts_in_the_page_of_the_documents_only_its_own_runs(world: World):
    page = world.app.test_client().get("/api/v1/docs?x=<script>alert(1)</script>")
    (script,) = re.findall(rb"<script>(.*?)</script>", page.data, re.DOTALL)
    (allowed,) = re.findall(r"script-src ([^;]*);", page.headers["Content-Security-Policy"])
    assert allowed.split() == ["'self'", f"'sha256-{b64encode(sha256(script).digest()).decode()}'"]
    assert b"alert" not in page.data


def test_s132_production_insists_on_tls(world: World, make_world: Callable[..., World]):
    assert "Strict-Transport-Security" not in world.nobody().get("/auth/me").headers
    strict = make_world(env="production").nobody().get("/auth/me").headers
    assert strict["Strict-Transport-Security"].startswith("max-age=31536000")


# --- CORS -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_world(make_world: Callable[..., World]) -> World:
    """A world that two origins may use."""
    return make_world(allowed_origins=ALLOWED)


@pytest.mark.parametrize("origin", ALLOWED)
def test_s129_a_listed_origin_may_read_answers(shared_world: World, origin: str):
    headers = shared_world.person().get("/auth/me", headers={"Origin": origin}).headers
    assert headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers
    for name in ("X-Request-ID", "Retry-After", "X-RateLimit-Remaining", "Idempotency-Replayed"):
        assert name in headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://evilapp.example.com",
        "https://app.example.com:444",
        "https://meet.example.com",
        "https://app.example.com.",
        "*",
    ],
)
def test_s129_any_other_origin_may_not(shared_world: World, origin: str):
    person = shared_world.person()
    assert "Access-Control-Allow-Origin" not in person.get("/auth/me", headers={"Origin": origin}).headers
    preflight = person.call("OPTIONS", "/meetings", headers=_preflight(origin))
    assert "Access-Control-Allow-Origin" not in preflight.headers


def _preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }


def test_s129_a_listed_origin_may_send_what_the_api_needs(shared_world: World):
    answer = shared_world.nobody().call("OPTIONS", "/meetings", headers=_preflight(ALLOWED[0]))
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED[0]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "idempotency-key"))
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_s129_failures_can_be_read_by_a_listed_origin_too(shared_world: World):
    for path in ("/auth/me", "/nowhere"):
        headers = shared_world.nobody().get(path, headers={"Origin": ALLOWED[0]}).headers
        assert headers["Access-Control-Allow-Origin"] == ALLOWED[0]


def test_s129_without_a_list_no_origin_may_read(world: World):
    headers = world.person().get("/auth/me", headers={"Origin": ALLOWED[0]}).headers
    assert not [name for name, _ in headers if name.startswith("Access-Control")]


def test_s123_links_come_from_the_settings_and_not_from_the_request(world: World, host: Person):
    meeting = world.meeting(host, start=False)
    answer = host.get(f"/meetings/{meeting}", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert answer.data["join_url"] == f"{world.runtime.settings.base_url}/join/{meeting}"


def test_s131_what_is_not_ours_is_not_there(world: World):
    client = world.app.test_client()
    for path in ("/.git/config", "/static/x", "/console", "/api/v1/../../etc/passwd", f"/{new_id()}"):
        assert client.get(path).status_code == 404
    for path in ("../pyproject.toml", "%2e%2e/%2e%2e/x", "..%2f..%2fx"):
        assert client.get(f"/_assets/swagger-ui/{path}").status_code == 404
    with client.get("/_assets/swagger-ui/swagger-ui.css") as style:
        assert style.status_code == 200
