"""The documents say what the code does: routes, errors, frames, events, jobs (contract 1, 11, 12; S136)."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from shared.core.errors import CATALOGUE, DomainError
from shared.core.messages import JOBS, Announcement, Job, MeetingEvent, Signal
from shared.realtime.close_codes import MEANINGS
from tests.factories.world import API
from web.realtime.announcements import ANNOUNCEMENTS
from web.realtime.frame_types import FRAME_TYPES
from workers import beat
from workers.app import configure
from workers.task import JOB_TASKS, PERIODIC_TASKS

pytestmark = pytest.mark.once

METHODS = {"get", "post", "put", "patch", "delete"}
# What stands below /api/v1 and is about the API, not of it.
ABOUT = {f"{API}/openapi.json", f"{API}/docs", f"{API}/asyncapi.json"}
# LiveKit's own door: it signs what it sends, is counted by no limit, and names each event by an id of its own.
LIVEKIT = f"{API}/livekit/webhook"
# Lists that are answered as a whole, on one page.
WHOLE = {f"{API}/meetings/{{meeting_id}}/hands"}
Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def openapi(app: Flask) -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    response = app.test_client().get(f"{API}/openapi.json")
    assert response.status_code == 200
    return dict(response.get_json())


@pytest.fixture(scope="module")
def asyncapi(app: Flask) -> dict[str, Any]:
    """The AsyncAPI document as it is served."""
    return dict(app.test_client().get(f"{API}/asyncapi.json").get_json())


def operations(openapi: dict[str, Any]) -> Iterator[Operation]:
    for path, item in openapi["paths"].items():
        for method in METHODS & set(item):
            yield method.upper(), path, item[method]


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference to where it leads."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def references(part: Any) -> Iterator[str]:
    """Return every $ref below a part of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def in_use(kind: type) -> set[type]:
    """Return every class of ours below `kind`; not the drafts that dataclasses with slots leave behind."""
    found: set[type] = set()
    children: list[type] = kind.__subclasses__()
    for child in children:
        module = sys.modules[child.__module__]
        if child.__module__.startswith(("shared.", "web.")) and getattr(module, child.__name__, None) is child:
            found |= {child}
        found |= in_use(child)
    return found


# --- routes ---------------------------------------------------------------------------------------------------------


def test_s136_the_document_has_every_route_and_no_other(app: Flask, openapi: dict[str, Any]):
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or set()
        if rule.rule.startswith(API) and rule.rule not in ABOUT and method.lower() in METHODS
    }
    documented = {(method, path) for method, path, _ in operations(openapi)}
    assert served == documented
    assert len(served) > 20


def test_s136_outside_of_the_api_there_is_only_what_is_known(app: Flask):
    outside = {rule.rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(API)}
    assert outside == {
        "/",
        "/_assets/swagger-ui/<path:name>",
        "/healthz",
        "/readyz",
        "/metrics",
        "/ws/meetings/<meeting_id>",
    }


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_tag(openapi: dict[str, Any]):
    summaries = [operation["summary"] for _, _, operation in operations(openapi)]
    assert all(summaries)
    assert len(summaries) == len(set(summaries))
    assert all(operation["tags"] for _, _, operation in operations(openapi))


def test_every_success_and_every_failure_has_the_envelope(openapi: dict[str, Any]):
    for method, path, operation in operations(openapi):
        successes = {s for s in operation["responses"] if s.startswith("2")}
        failures = set(operation["responses"]) - successes
        assert successes, (method, path)
        assert failures >= ({"401", "500", "503"} if path == LIVEKIT else {"422", "429", "500", "503"}), (method, path)
        for status in successes | failures:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            envelope = resolve(openapi, schema)
            wanted = {"status", "message", "data", "timestamp"}
            if status in failures:
                wanted = {"status", "message", "code", "details", "timestamp", "request_id"}
            assert set(envelope["required"]) == wanted, (method, path, status)
            assert envelope["additionalProperties"] is False


def test_every_operation_says_how_to_be_somebody(openapi: dict[str, Any]):
    assert openapi["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert openapi["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"
    for method, path, operation in operations(openapi):
        security = operation.get("security", openapi["security"])
        if path == LIVEKIT:
            assert security == [{"livekit": []}]
            continue
        assert {"bearer": []} in security
        scopes = operation.get("x-required-scope")
        assert ({"api_key": scopes} in security) == bool(scopes), (method, path)
        codes = operation["responses"].get("403", {}).get("description", "")
        if scopes:
            assert all(f"`{scope}`" in operation["description"] for scope in scopes), (method, path)
            assert "`INSUFFICIENT_SCOPE`" in codes, (method, path)
        else:
            assert "API keys are not accepted." in operation["description"]
        assert "401" in operation["responses"], (method, path)


def test_every_post_takes_an_idempotency_key_and_nothing_else_does(openapi: dict[str, Any]):
    for method, path, operation in operations(openapi):
        headers = {p["name"] for p in operation.get("parameters", []) if p.get("in") == "header"}
        takes_key = method == "POST" and path != LIVEKIT
        assert headers == ({"Idempotency-Key"} if takes_key else set()), (method, path)
        assert ("409" in operation["responses"]) >= takes_key


def test_every_body_refuses_what_it_does_not_know(openapi: dict[str, Any]):
    bodies = [o["requestBody"] for _, path, o in operations(openapi) if "requestBody" in o and path != LIVEKIT]
    assert bodies
    for body in bodies:
        schema = resolve(openapi, body["content"]["application/json"]["schema"])
        assert schema["additionalProperties"] is False


def test_every_list_has_its_pagination(openapi: dict[str, Any]):
    lists = 0
    for method, path, operation in operations(openapi):
        for status, response in operation["responses"].items():
            envelope = resolve(openapi, response["content"]["application/json"]["schema"])
            if not status.startswith("2") or "array" not in envelope["properties"]["data"].get("type", []):
                continue
            lists += 1
            assert "pagination" in envelope["properties"], (method, path)
            names = {p["name"] for p in operation.get("parameters", []) if p.get("in") == "query"}
            assert names >= {"limit"} or path in WHOLE, (method, path)
    assert lists >= 4


def test_no_reference_leads_nowhere(openapi: dict[str, Any], asyncapi: dict[str, Any]):
    for document in (openapi, asyncapi):
        found = list(references(document))
        assert found
        for reference in found:
            assert resolve(document, {"$ref": reference})


def test_the_page_of_the_document_is_served_from_here(app: Flask):
    page = app.test_client().get(f"{API}/docs").get_data(as_text=True)
    assert f"{API}/openapi.json" in page
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)


# --- errors ---------------------------------------------------------------------------------------------------------

# Contract 12, those whose part of the product exists.
CONTRACT = {
    "MEETING_NOT_FOUND": 404,
    "MEETING_ALREADY_ACTIVE": 409,
    "MEETING_NOT_ACTIVE": 400,
    "MEETING_ENDED": 410,
    "INSUFFICIENT_PERMISSION": 403,
    "INSUFFICIENT_SCOPE": 403,
    "PARTICIPANT_NOT_FOUND": 404,
    "PARTICIPANT_EXISTS": 409,
    "MAX_PARTICIPANTS_REACHED": 403,
    "MEETING_LOCKED": 403,
    "INVALID_MEETING_STATE": 400,
    "WEBSOCKET_CONNECTION_ERROR": 500,
    "LIVEKIT_TOKEN_ERROR": 500,
    "CHAT_DISABLED": 403,
    "SCREEN_SHARE_DISABLED": 403,
    "RATE_LIMIT_EXCEEDED": 429,
    "VALIDATION_ERROR": 422,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "MALFORMED_JSON": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "SERVICE_UNAVAILABLE": 503,
    "INTERNAL_ERROR": 500,
    "UNAUTHENTICATED": 401,
    "TOKEN_EXPIRED": 401,
    "TOKEN_REVOKED": 401,
    "USER_BLOCKED": 403,
    "ANONYMOUS_NOT_ALLOWED": 403,
    "DOMAIN_NOT_ALLOWED": 403,
    "PASSCODE_REQUIRED": 403,
    "PASSCODE_INVALID": 403,
    "REACTIONS_DISABLED": 403,
    "HAND_RAISE_DISABLED": 403,
    "FILE_SHARING_DISABLED": 403,
}
# Answered by the framework's own door, or before a route is found: no operation lists them.
UNLISTED = {"NOT_FOUND", "METHOD_NOT_ALLOWED", "BAD_REQUEST", "WEBSOCKET_CONNECTION_ERROR"}


@pytest.mark.parametrize(("code", "status"), CONTRACT.items())
def test_a_code_of_the_contract_has_its_status(code: str, status: int):
    assert CATALOGUE[code].status == status


def test_every_refusal_is_in_the_catalogue_with_words_of_its_own():
    for kind in in_use(DomainError):
        assert issubclass(kind, CATALOGUE[kind.code]), kind  # type: ignore[attr-defined]
    for code, kind in CATALOGUE.items():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", code)
        assert 400 <= kind.status <= 599
        assert kind.message.endswith("."), code
        assert kind.code == code
    messages = [kind.message for kind in CATALOGUE.values()]
    assert len(messages) == len(set(messages))


def test_every_code_is_in_the_table_and_is_answered_by_something(openapi: dict[str, Any]):
    text = openapi["info"]["description"]
    for code, kind in CATALOGUE.items():
        assert f"| `{code}` | {kind.status} | {kind.message} |" in text
    answered: dict[str, set[int]] = {}
    for _, _, operation in operations(openapi):
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                for code in re.findall(r"`([A-Z_]+)`", response["description"]):
                    answered.setdefault(code, set()).add(int(status))
    assert set(CATALOGUE) - set(answered) <= UNLISTED
    for code, statuses in answered.items():
        assert statuses == {CATALOGUE[code].status}


# --- frames and events ----------------------------------------------------------------------------------------------


def test_the_document_has_every_frame_a_client_may_send_and_no_other(asyncapi: dict[str, Any]):
    messages = asyncapi["components"]["messages"]
    sent = {name.removeprefix("client.") for name in messages if name.startswith("client.")}
    assert sent == set(FRAME_TYPES) | {"ping"}
    assert sent == {"ping", "participant_update", "chat", "reaction", "hand_raise", "screen_share", "typing"}
    for name in sent:
        payload = messages[f"client.{name}"]["payload"]
        assert payload["properties"]["type"] == {"const": name}
        assert set(payload["properties"]) == {"type", "data", "id"}
        assert payload["additionalProperties"] is False
        assert messages[f"client.{name}"]["summary"]
        permission = messages[f"client.{name}"].get("x-permission")
        assert permission == (None if name == "ping" else FRAME_TYPES[name].permission.name)


def test_every_announcement_has_a_schema_and_a_place_in_the_document(asyncapi: dict[str, Any]):
    concrete = {c for c in in_use(Announcement) - {MeetingEvent, Signal} if not c.__name__.startswith("_")}
    assert concrete == set(ANNOUNCEMENTS)
    messages = asyncapi["components"]["messages"]
    for event, schema in ANNOUNCEMENTS.items():
        payload = messages[f"server.{event.type}"]["payload"]
        assert f"#/components/schemas/{type(schema).__name__}" in set(references(payload)), event
        assert set(payload["required"]) == {"type", "meeting_id", "user_id", "data", "timestamp", "stream", "seq"}


def test_every_message_is_in_one_operation(asyncapi: dict[str, Any]):
    names = set(asyncapi["components"]["messages"])
    listed = [r["$ref"].rpartition("/")[2] for o in asyncapi["operations"].values() for r in o["messages"]]
    assert sorted(listed) == sorted(names)
    assert set(asyncapi["channels"]["meeting"]["messages"]) == names


def test_the_server_types_of_the_contract_are_those_that_exist(asyncapi: dict[str, Any]):
    told = {n.removeprefix("server.") for n in asyncapi["components"]["messages"] if n.startswith("server.")}
    wanted = {
        *("welcome", "ack", "error", "pong", "resync", "join", "leave", "participant_update", "participant_list"),
        *("chat", "reaction", "hand_raise", "screen_share", "waiting_room", "policy", "breakout_room", "poll"),
        *("whiteboard", "recording", "meeting_status", "job", "typing", "connection_status"),
    }
    assert told <= wanted


def test_every_close_code_is_explained_and_says_by_its_number_whether_to_come_back(asyncapi: dict[str, Any]):
    explained = asyncapi["x-close-codes"]
    assert explained == {str(code): meaning for code, meaning in MEANINGS.items()}
    assert set(explained) >= {"1012", "4401", "4408", "4429", "4503", "4510"}


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_every_job_has_exactly_one_worker():
    assert set(JOB_TASKS) == set(JOBS)
    assert {c for c in in_use(Job) if c.__name__[0] != "_"} == set(JOBS.values())
    for name, task in JOB_TASKS.items():
        assert task.job is JOBS[name]


def test_every_entry_of_the_schedule_is_a_task_that_is_registered(app: Flask):
    settings = app.extensions["parley"].settings
    celery = configure(settings)
    schedule = beat.schedule()
    assert schedule
    assert set(schedule) == set(PERIODIC_TASKS)
    registered = {name for name in celery.tasks if not name.startswith("celery.")}
    assert registered == set(JOB_TASKS) | set(PERIODIC_TASKS)
    lanes = {queue.name for queue in celery.conf.task_queues}
    for entry in schedule.values():
        assert entry["task"] in registered
        assert entry["options"]["queue"] in lanes
    assert {job.lane for job in JOBS.values()} <= lanes


def test_tasks_accept_json_and_nothing_else(app: Flask):
    celery = configure(app.extensions["parley"].settings)
    assert celery.conf.accept_content == ["json"]
    assert celery.conf.task_serializer == "json"
