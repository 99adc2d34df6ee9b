"""One envelope for every answer (contract 1)."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from shared.core.database import TransactionConflict
from shared.core.errors import ServiceUnavailable
from shared.core.ids import is_id, new_id
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import TIME, account, check_failure, check_success


def test_a_success_has_the_envelope(world: World, host: Person):
    made = host.post("/meetings", {"title": "A"})
    assert check_success(made, 201)["title"] == "A"
    check_success(host.get(f"/meetings/{made.data['meeting_id']}"))
    check_success(host.delete(f"/meetings/{made.data['meeting_id']}"))
    check_success(world.nobody().post("/auth/register", account()), 201)


def test_a_list_adds_where_the_next_page_begins(host: Person):
    answer = host.get("/meetings")
    assert check_success(answer, is_list=True) == []
    assert answer.body["pagination"] == {"limit": 50, "next_cursor": None}


REFUSALS: dict[str, tuple[Callable[[World, Person], Answer], int, str]] = {
    "an unknown address": (lambda w, p: p.get("/nowhere"), 404, "NOT_FOUND"),
    "an unknown address without a credential": (lambda w, p: w.nobody().get("/nowhere"), 404, "NOT_FOUND"),
    "an unknown address that is written to": (lambda w, p: p.post("/meetings/x/y/z", {"a": 1}), 404, "NOT_FOUND"),
    "a slash too many": (lambda w, p: p.get("/meetings/"), 404, "NOT_FOUND"),
    "a method that is not taken": (lambda w, p: p.put("/meetings", {}), 405, "METHOD_NOT_ALLOWED"),
    "tracing": (lambda w, p: p.call("TRACE", "/meetings"), 405, "METHOD_NOT_ALLOWED"),
    "no credential": (lambda w, p: w.nobody().get("/meetings"), 401, "UNAUTHENTICATED"),
    "a body that is no JSON": (
        lambda w, p: p.post("/meetings", data=b"{", content_type="application/json"),
        400,
        "MALFORMED_JSON",
    ),
    "another type of body": (
        lambda w, p: p.post("/meetings", data=b"title=A", content_type="application/x-www-form-urlencoded"),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    "a body that is too large": (
        lambda w, p: p.post("/meetings", {"title": "x" * 1024 * 1024}),
        413,
        "PAYLOAD_TOO_LARGE",
    ),
    "fields that are wrong": (lambda w, p: p.post("/meetings", {}), 422, "VALIDATION_ERROR"),
    "a meeting that is not there": (lambda w, p: p.get(f"/meetings/{new_id()}"), 404, "MEETING_NOT_FOUND"),
}


@pytest.mark.parametrize(("ask", "status", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_every_failure_has_the_envelope(
    world: World, host: Person, ask: Callable[[World, Person], Answer], status: int, code: str
):
    check_failure(ask(world, host), status, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/meetings", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/auth/me", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/auth/login", {"OPTIONS", "POST"}),
        ("PUT", "/meetings/01HX3M6P2K8Z4Q7R9T1V5W0Y2A", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
    ],
)
def test_s26_a_method_that_is_not_taken_is_answered_with_those_that_are(
    host: Person, method: str, path: str, allowed: set[str]
):
    answer = check_failure(host.call(method, path), 405, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_s26_a_header_does_not_change_the_method(world: World, host: Person):
    meeting = world.meeting(host, start=False)
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        check_success(host.get(f"/meetings/{meeting}", headers={name: "DELETE"}))
    assert host.get(f"/meetings/{meeting}").data["status"] == "scheduled"


def test_s26_head_and_options_tell_nothing_to_strangers(world: World, host: Person):
    meeting = world.meeting(host, start=False)
    nobody = world.nobody()
    assert host.call("HEAD", f"/meetings/{meeting}").status == 200
    assert nobody.call("HEAD", f"/meetings/{meeting}").status == 401
    options = nobody.call("OPTIONS", f"/meetings/{meeting}")
    assert options.body is None
    assert nobody.call("OPTIONS", f"/meetings/{new_id()}").headers["Allow"] == options.headers["Allow"]


# --- the id of a request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 128])
def test_a_request_id_is_echoed(host: Person, given: str):
    answer = host.get("/meetings/x", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == answer.body["request_id"] == given
    assert host.get("/auth/me", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "é"])
def test_s124_a_request_id_that_is_none_is_replaced(host: Person, given: str):
    answer = host.get("/meetings/x", headers={"X-Request-ID": given})
    assert is_id(answer.headers["X-Request-ID"])
    assert answer.body["request_id"] == answer.headers["X-Request-ID"]


# --- what nobody thought of -----------------------------------------------------------------------------------------


@pytest.fixture
def broken(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let the database break in the middle of the next requests."""

    def break_with(error: Exception) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(type(world.runtime.database), "connection", fail)

    return break_with


def test_s122_a_bug_tells_nothing_of_the_inside(
    host: Person, broken: Callable[[Exception], None], caplog: pytest.LogCaptureFixture
):
    broken(RuntimeError("SELECT secret FROM users; /srv/parley/shared/core.py line 3"))
    answer = check_failure(host.get("/auth/me"), 500, "INTERNAL_ERROR")
    assert answer.body["details"] == {}
    for word in ("SELECT", "secret", "/srv", "Traceback", "RuntimeError"):
        assert word not in str(answer.body)
    assert "unhandled_exception" in caplog.text


def test_a_database_that_is_away_is_503_with_a_time_to_come_back(host: Person, broken: Callable[[Exception], None]):
    broken(ServiceUnavailable())
    answer = check_failure(host.get("/auth/me"), 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"


def test_a_transaction_that_is_undone_again_and_again_is_503(host: Person, broken: Callable[[Exception], None]):
    broken(TransactionConflict("40001"))
    check_failure(host.post("/meetings", {"title": "A"}), 503, "SERVICE_UNAVAILABLE")


def test_a_transaction_that_was_undone_once_is_run_again(host: Person, monkeypatch: pytest.MonkeyPatch, world: World):
    kind, failures = type(world.runtime.database), [TransactionConflict("40001")]
    genuine = kind.connection

    def sometimes(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return genuine(*arguments, **options)

    monkeypatch.setattr(kind, "connection", sometimes)
    check_success(host.post("/meetings", {"title": "A"}), 201)
    monkeypatch.undo()
    assert len(host.get("/meetings").data) == 1


# --- health ---------------------------------------------------------------------------------------------------------


def test_healthz_says_that_the_process_is_alive(world: World):
    response = world.app.test_client().get("/healthz")
    assert response.status_code == 200
    assert response.get_json()["data"] == {"alive": True}


def test_readyz_names_what_does_not_answer(make_world: Callable[..., World]):
    away = make_world(redis_url="redis://127.0.0.1:1/0")
    response = away.app.test_client().get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["code"] == "SERVICE_UNAVAILABLE"
    assert response.get_json()["details"]["redis"] is False
    assert response.get_json()["details"]["database"] is True
    assert "redis" in response.get_json()["message"]


def test_metrics_are_prometheus_text(app: Flask):
    response = app.test_client().get("/metrics")
    assert response.status_code == 200
    assert b"parley_requests_total" in response.data


def test_times_have_milliseconds_and_z(world: World, host: Person):
    made = host.get(f"/meetings/{world.meeting(host)}").data
    assert TIME.fullmatch(made["created_at"])
    assert TIME.fullmatch(made["started_at"])
