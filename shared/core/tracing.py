"""Tracing: from a request to the jobs it decided and to what these call. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

While it is off nothing of OpenTelemetry is imported, and a span is nothing. The cause of a job, the id of its request
and where it stands in a trace, travels in the outbox: a message carries a row's id only, and beat may send it hours
later. What a stranger's request says of traces is not believed.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from structlog.contextvars import get_contextvars

from shared.core.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

EXPORT_MILLISECONDS = 1000.0  # a worker's child that ends takes along what was not sent yet

_tracer: Any = None


@dataclass(frozen=True, slots=True)
class Cause:
    """What a job follows from: the id of the request, for log lines, and W3C's traceparent; None where none is."""

    request_id: str | None = None
    trace: str | None = None


def begin(settings: Settings, service: str) -> None:
    """Send the spans of this process where the settings say; to be called after a fork.

    Without the packages of requirements-otel.txt that is said in the log, and nothing else is missing.
    """
    if not settings.otel_endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        log.error("traces_not_sent", extra={"error": str(missing), "repair": "pip install -r requirements-otel.txt"})
        return
    exporter = OTLPSpanExporter(endpoint=f"{settings.otel_endpoint.rstrip('/')}/v1/traces")
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_MILLISECONDS))
    use(provider)


def use(provider: "TracerProvider | None") -> None:
    """Make spans with a provider from now on, with None none."""
    global _tracer
    _tracer = None if provider is None else provider.get_tracer("parley")


def span(name: str, kind: str = "internal", *, parent: str | None = None, **facts: Any) -> AbstractContextManager[None]:
    """Return a span for a `with` block: below the current one, or as a part of the trace that `parent` says.

    `kind` is server, client, consumer or internal; `facts` become attributes named parley.….
    """
    return nullcontext() if _tracer is None else _span(name, kind, parent, facts)


@contextmanager
def _span(name: str, kind: str, parent: str | None, facts: dict[str, Any]) -> Iterator[None]:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if parent is None else TraceContextTextMapPropagator().extract({"traceparent": parent})
    attributes = {f"parley.{key}": value for key, value in facts.items()}
    with _tracer.start_as_current_span(name, context, SpanKind[kind.upper()], attributes):
        yield


def note(name: str, **facts: Any) -> None:
    """Note on the current span that something happened."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().add_event(name, {f"parley.{key}": value for key, value in facts.items()})


def cause() -> Cause:
    """Return what a job that is decided now follows from."""
    return Cause(get_contextvars().get("request_id"), _traceparent())


def _traceparent() -> str | None:
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
