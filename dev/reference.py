"""The reference pages: made from what the code declares once. `python -m dev.reference [--check]`.

With `--check` nothing is written; exit code 1 names the pages that no longer say what the code says.
"""

import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

import workers.app  # noqa: F401  registers jobs and periodic tasks
from dev import permissions
from dev.dashboard import dashboard
from shared.core import metrics
from shared.core.errors import CATALOGUE
from shared.core.messages import JOBS, MeetingEvent
from shared.core.settings import Settings, default_of, environment_name
from shared.realtime import close_codes
from shared.realtime.close_codes import MEANINGS
from shared.runtime import build_runtime
from web.app import create_app
from web.realtime import asyncapi
from web.realtime.announcements import ANNOUNCEMENTS
from web.realtime.frame_types import FRAME_TYPES
from workers.task import PERIODIC_TASKS

ROOT = Path(__file__).resolve().parent.parent
REPAIR = "python -m dev.reference"
MADE = f"<!-- Made by `{REPAIR}` from the code; changes by hand are lost. -->\n"

# Opens nothing: no server needs to run while the pages are made.
SETTINGS = Settings(env="test", secret_key="s" * 40, jwt_secret_key="j" * 40, database_url="sqlite:///none.db")


def settings_page() -> str:
    """Return the page of all environment names."""
    rows = [
        (f"`{environment_name(f)}`", _code(_shown_default(default_of(f))), f.metadata["meaning"] + _secret(f.metadata))
        for f in fields(Settings)
    ]
    return _page(
        "Settings",
        "Environment names, read once when a process starts. `NAME_FILE` may name a file that holds the value, as "
        "container secrets do. A `.env` file in the project's folder is read too. In production a process refuses to "
        "start with a setting that must not go live, and names it.",
        _table(("Name", "Default", "Meaning"), rows),
    )


def _shown_default(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _secret(metadata: Any) -> str:
    return " *Secret.*" if metadata["secret"] else ""


def env_example() -> str:
    """Return `.env.example`: every setting, commented out, with its default."""
    lines = ["# Every setting with its default. Copy to .env and take the # away where yours differs.", ""]
    for f in fields(Settings):
        value = default_of(f)
        lines += [f"# {f.metadata['meaning']}", f"#{environment_name(f)}={_shown_default(value)}", ""]
    return "\n".join(lines)


def errors_page() -> str:
    """Return the page of all error codes."""
    rows = [
        (f"`{code}`", str(error.status), "yes" if error.retryable else "", error.message)
        for code, error in sorted(CATALOGUE.items())
    ]
    return _page(
        "Error codes",
        "Every failure has one envelope, and `code` is one of these. A code never changes its meaning. *Retry* says "
        "whether the same request can succeed later. Over the WebSocket the same codes come in `error` frames.",
        _table(("Code", "HTTP status", "Retry", "Meaning"), rows),
    )


def events_page() -> str:
    """Return the page of frames: what clients send, what they hear, and how sockets are closed."""
    sent = [(f"`{n}`", _first_line(k.handle), _answer(k)) for n, k in sorted(FRAME_TYPES.items())]
    sent.append(("`ping`", "Ask for a pong.", "`pong`"))
    heard = sorted(
        (f"`{event.type}`", _streams(event), f"`{event.__name__}`: {_first_line(event)}") for event in ANNOUNCEMENTS
    )
    closed = [(str(code), "yes" if _may_return(code) else "no", said) for code, said in MEANINGS.items()]
    return _page(
        "Frames",
        "The WebSocket `/ws/meetings/{id}`. The fields of `data` are in `asyncapi.json`, beside this page and served "
        "as `/api/v1/asyncapi.json`.",
        "## What a client sends\n\n"
        + _table(("Type", "Meaning", "Answer to a frame with `id`"), sent)
        + "\n## What it hears\n\n"
        + _table(("Type", "Kept on", "Event"), heard)
        + "\nBeside these `welcome` (the first frame), `ack`, `error`, `pong` and `resync`, for one connection only.\n"
        + "\n## How a socket is closed\n\n"
        + _table(("Code", "Come back", "Meaning"), closed),
    )


def _may_return(code: int) -> bool:
    return code in (close_codes.INTERNAL, close_codes.GOING_AWAY) or 4000 <= code < 4500


def _answer(kind: Any) -> str:
    return "`ack` with `stream` and `seq`, after the commit" if kind.is_kept else "`ack` with null, at once"


def _streams(event: type[Any]) -> str:
    if not issubclass(event, MeetingEvent):
        return "nothing: at most once"
    source = inspect.getsource(event.stream.fget)  # type: ignore[attr-defined]
    names = {"meeting_stream": "`meeting`", "hosts_stream": "`hosts`", "personal_stream": "`me`"}
    return ", ".join(shown for name, shown in names.items() if f"{name}(" in source)


def jobs_page() -> str:
    """Return the page of what workers do."""
    jobs = [(f"`{job.name}`", f"`{job.lane}`", _first_line(job)) for _, job in sorted(JOBS.items())]
    periodic = [
        (f"`{task.name}`", f"{task.every_seconds:g} s", f"`{task.lane}`", _first_line(task.run))
        for _, task in sorted(PERIODIC_TASKS.items())
    ]
    return _page(
        "Jobs",
        "What Celery workers do. A job is a row of the outbox, written in the transaction it follows from; its message "
        "carries only the row's id. A periodic task is sent by beat and holds a lease, so that two beats do no harm.",
        "## Jobs\n\n"
        + _table(("Task", "Lane", "Meaning"), jobs)
        + "\n## Periodic tasks\n\n"
        + _table(("Task", "Every", "Lane", "Meaning"), periodic),
    )


@dataclass(frozen=True, slots=True, order=True)
class Exported:
    """A metric as a dashboard sees it."""

    name: str
    type: str
    labels: tuple[str, ...]
    documentation: str


def exported() -> list[Exported]:
    """Return every metric that is declared, by name."""
    found = []
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.append(Exported(name, family.type, tuple(metric._labelnames), family.documentation))
        elif isinstance(metric, metrics.Figure):
            found.append(Exported(metric.name, "gauge", metric.labels, metric.documentation))
    return sorted(found)


def metrics_page() -> str:
    """Return the page of what /metrics exports."""
    rows = [(f"`{m.name}`", m.type, ", ".join(f"`{label}`" for label in m.labels), m.documentation) for m in exported()]
    return _page(
        "Metrics",
        "`GET /metrics` of every web process, in Prometheus' text format, and of a worker where `WORKER_METRICS_PORT` "
        "says; with `PROMETHEUS_MULTIPROC_DIR` set, of all processes that share the folder. The proxy passes neither "
        "on. What to look at: [observe](../operate/observe.md).",
        _table(("Name", "Type", "Labels", "Meaning"), rows),
    )


def permissions_page() -> str:
    """Return the page of who may do what."""
    return _page("Permissions", permissions.LEAD, permissions.body(_table))


def openapi_document() -> str:
    """Return the OpenAPI document, as it is served."""
    app = create_app(build_runtime(SETTINGS))
    return _pretty(app.test_client().get("/api/v1/openapi.json").get_json())


def asyncapi_document() -> str:
    """Return the AsyncAPI document, as it is served."""
    return _pretty(asyncapi.document())


PAGES: dict[str, Callable[[], str]] = {
    ".env.example": env_example,
    "docs/reference/settings.md": settings_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/frames.md": events_page,
    "docs/reference/jobs.md": jobs_page,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/permissions.md": permissions_page,
    "docker/grafana/parley.json": dashboard,
    "docs/reference/openapi.json": openapi_document,
    "docs/reference/asyncapi.json": asyncapi_document,
}


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _page(title: str, lead: str, body: str) -> str:
    return f"{MADE}\n# {title}\n\n{lead}\n\n{body}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(check: bool) -> int:
    """Write the pages that differ, or with `check` name them. Returns the exit code."""
    different = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        different.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if different and check:
        print(f"not what the code says any more: {', '.join(different)}\nrepair with: {REPAIR}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
