"""From the request over its job to what that calls: one trace when traces are wanted, one request id always."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import get_contextvars

from dev.process import free_port
from shared.core import tracing
from shared.core.logging import clear_contextvars
from shared.core.outbox import outbox
from shared.core.settings import Settings
from shared.runtime import Runtime
from shared.webhooks import sending
from shared.webhooks.sending import Letter, Recipient
from tests.factories.world import World
from tests.fakes.queue import FakeQueue
from tests.fakes.receiver import Receiver
from web.app import create_app
from workers import app  # noqa: F401  registers every task
from workers.task import run_job


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Traces are on, and kept here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)
    provider.shutdown()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What log lines would carry whenever LiveKit is called, which says yes to all."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("shared.livekit.client._call", lambda *_: calls.append(get_contextvars()))
    yield calls
    clear_contextvars()


def end_a_meeting(bench: Runtime, queue: FakeQueue, request_id: str) -> str:
    """End a meeting over HTTP; return the id of the job that deletes its room."""
    world = World(create_app(bench), bench)
    host = world.person()
    meeting_id = world.meeting(host)
    queue.dispatched.clear()
    assert host.post(f"/meetings/{meeting_id}/end", headers={"X-Request-ID": request_id}).status == 200
    assert "request_id" not in get_contextvars()
    (errand,) = [errand for errand in queue.dispatched if errand.name == "livekit.delete_room"]
    return errand.id


def row_of(bench: Runtime, row_id: str) -> Any:
    with bench.reading() as tx:
        return tx.first(outbox.select().where(outbox.c.id == row_id))


def by_name(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in spans.get_finished_spans() if span.name == name]
    return found


def test_a_job_and_its_log_lines_carry_the_id_of_the_request_without_any_tracing(
    bench: Runtime, queue: FakeQueue, seen: list[dict[str, Any]]
) -> None:
    job = end_a_meeting(bench, queue, "the-request")
    assert (row_of(bench, job).request_id, row_of(bench, job).trace) == ("the-request", None)

    assert run_job(bench, "livekit.delete_room", job) == "done"
    assert [line["request_id"] for line in seen] == ["the-request"]


def test_request_job_and_call_are_one_trace(
    bench: Runtime, queue: FakeQueue, seen: list[dict[str, Any]], spans: InMemorySpanExporter
) -> None:
    job = end_a_meeting(bench, queue, "the-request")
    assert run_job(bench, "livekit.delete_room", job) == "done"

    request = by_name(spans, "POST /api/v1/meetings/<meeting_id>/end")
    task = by_name(spans, "livekit.delete_room")
    call = by_name(spans, "livekit delete_room")
    assert task.parent is not None
    assert call.parent is not None
    assert task.parent.span_id == request.context.span_id
    assert call.parent.span_id == task.context.span_id
    assert {span.context.trace_id for span in (request, task, call)} == {request.context.trace_id}
    assert (request.parent, dict(request.attributes or {})) == (None, {"parley.request_id": "the-request"})
    noted = {event.name: dict(event.attributes or {}) for event in request.events}
    assert noted["answered"] == {"parley.status": 200}
    assert {"parley.meeting_id", "parley.stream", "parley.seq"} == noted["meeting_status"].keys()
    place = f"00-{request.context.trace_id:032x}-{request.context.span_id:016x}-"
    assert row_of(bench, job).trace.startswith(place)


def test_what_a_stranger_says_of_traces_is_not_believed(bench: Runtime, spans: InMemorySpanExporter) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    client = create_app(bench).test_client()
    client.get("/api/v1/openapi.json", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-00"})
    client.get("/healthz")

    (span,) = spans.get_finished_spans()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != trace


@pytest.mark.once
def test_a_webhook_is_a_span_that_names_its_event(spans: InMemorySpanExporter) -> None:
    there = Recipient(f"http://127.0.0.1:{free_port()}", ())
    sending.send(there, Letter("evt_M_7", b"{}"), datetime.now(UTC), private=True)

    assert dict(by_name(spans, "webhook").attributes or {}) == {"parley.event_id": "evt_M_7"}


@pytest.mark.once
def test_spans_leave_for_where_the_settings_say(project: Path) -> None:
    program = (
        "import sys; from shared.core import tracing; from shared.core.settings import Settings; "
        "tracing.begin(Settings(env='test', otel_endpoint=sys.argv[1]), 'parley-test'); "
        "exec('with tracing.span(\"one\"): pass')"
    )
    with Receiver() as collector:
        command = [sys.executable, "-c", program, collector.url.removesuffix("/hook")]
        subprocess.run(command, cwd=project, check=True, timeout=60)

    (arrival,) = collector.arrivals
    assert arrival.path == "/v1/traces"
    assert b"parley-test" in arrival.raw


@pytest.mark.once
def test_without_the_packages_that_is_said_and_everything_else_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    tracing.begin(Settings(env="test", otel_endpoint="http://127.0.0.1:4318"), "parley-test")

    assert [record.message for record in caplog.records] == ["traces_not_sent"]
    with tracing.span("nothing"):
        assert tracing.cause().trace is None


@pytest.mark.once
def test_while_it_is_off_nothing_of_it_is_imported(project: Path) -> None:
    program = (
        "import sys; from shared.core import tracing; from shared.core.settings import Settings; "
        "tracing.begin(Settings(env='test'), 'parley-test'); tracing.span('one').__enter__(); "
        "tracing.note('two'); tracing.cause(); print([n for n in sys.modules if n.startswith('opentelemetry')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "[]"
