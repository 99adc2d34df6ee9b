"""Metrics: every one, declared once. The reference page, the dashboard and the alerts are checked against this file.

Where several processes serve or work (PROMETHEUS_MULTIPROC_DIR) each writes its own files, and whoever is scraped adds
them up: gauges are `livesum`, those of dead processes do not count. Labels have few values: never an id, a name or a
path that somebody sent.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

if _folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # prometheus_client's own name; the files open below
    Path(_folder).mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """A gauge that belongs to no process: it is asked for when the web is scraped, see shared.figures."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()

    def family(self) -> GaugeMetricFamily:
        """Return the gauge, to be given values."""
        return GaugeMetricFamily(self.name, self.documentation, labels=self.labels)


_WAITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WORK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90)

# --- requests

REQUESTS = Counter("parley_requests_total", "HTTP requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "parley_request_seconds",
    "Time to answer an HTTP request.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
REFUSED = Counter(
    "parley_requests_refused_total",
    "HTTP requests refused because too many came at once: the line was full (`line`), or took too long (`patience`).",
    ["why"],
)
WAITING = Gauge("parley_requests_waiting", "HTTP requests that wait to be let in.", multiprocess_mode="livesum")
JOINS = Counter(
    "parley_joins_total",
    "Joins answered: `admitted`, `waiting` in the waiting room, or `refused` by a rule or the meeting's state.",
    ["outcome"],
)

# --- sockets

CONNECTIONS = Gauge("parley_websocket_connections", "Open WebSockets.", multiprocess_mode="livesum")
FRAMES_IN = Counter("parley_frames_in_total", "Frames received from clients.", ["type"])
FRAMES_OUT = Counter("parley_frames_out_total", "Frames delivered to clients.")
CLOSED = Counter("parley_websocket_closed_total", "WebSockets closed by us, by close code.", ["code"])
# From the first wake-up of those that arrive together, which has waited longest. Two machines whose clocks differ show
# that difference.
FANOUT_SECONDS = Histogram(
    "parley_fanout_seconds",
    "Time from a commit until its event was handed to the sockets of a process. Events that were missed and read from "
    "the ledger are not in it, see `parley_stream_gaps_total`.",
    buckets=_WAITS,
)
GAPS = Counter("parley_stream_gaps_total", "Events a hub had to read from the ledger.")
CACHE_LOOKUPS = Counter("parley_cache_lookups_total", "Lookups in a cache, by layer.", ["cache", "layer", "outcome"])

# --- workers

JOB_WAIT_SECONDS = Histogram(
    "parley_job_wait_seconds", "Time from the decision that a job shall run until it began.", ["lane"], buckets=_WORK
)
TASKS = Counter(
    "parley_tasks_total",
    "Celery tasks run, by outcome: `done`, `skipped` (nothing to do any more), `retry`, `dead`; periodic: `failed`.",
    ["task", "outcome"],
)
TASK_SECONDS = Histogram("parley_task_seconds", "Time a Celery task took.", ["task"], buckets=_WORK)
TASKS_RUNNING = Gauge("parley_tasks_running", "Celery tasks at work now.", multiprocess_mode="livesum")
LIVEKIT_SECONDS = Histogram(
    "parley_livekit_seconds",
    "Time of a call to LiveKit, by outcome: `done`, `not_there` (what it is about is gone), `refused`, `failed` (no "
    "answer).",
    ["call", "outcome"],
    buckets=_WORK,
)
WEBHOOK_SECONDS = Histogram(
    "parley_webhook_seconds",
    "Time to send an event to a webhook's receiver, by outcome: `taken` (2xx), `refused` (no 2xx), `unreached`.",
    ["outcome"],
    buckets=_WORK,
)
FORGOTTEN = Counter("parley_forgotten_total", "Rows deleted because their time was over, by kind.", ["kind"])

# --- asked for by the web when it is scraped

DATABASE_UP = Figure(
    "parley_database_up",
    "Whether the database answered within a second. While it is 0, what only the database knows is left out.",
)
REDIS_UP = Figure("parley_redis_up", "Whether Redis answered. While it is 0, what only Redis knows is left out.")
OUTBOX_ROWS = Figure("parley_outbox_rows", "Jobs in the outbox that wait (`pending`) or run.", ("lane", "state"))
OUTBOX_OLDEST = Figure(
    "parley_outbox_oldest_seconds", "Age of the oldest job that waits or runs; 0 without one.", ("lane",)
)
DEAD_LETTERS = Figure("parley_dead_letters", "Jobs that were given up.", ("lane",))
WORKER_SILENCE = Figure(
    "parley_worker_silence_seconds", "Time since a worker last did what beat sent, +Inf when none ever did."
)
CIRCUITS_OPEN = Figure(
    "parley_webhook_circuits_open", "Webhook endpoints that are not sent to for now, because they fail again and again."
)
QUEUE_MESSAGES = Figure("parley_queue_messages", "Messages that wait in the broker.", ("lane",))
