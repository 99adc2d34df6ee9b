"""Metrics: every one, declared once. `/metrics` of the web and the dashboards take their names from here."""

from prometheus_client import Counter, Gauge, Histogram

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
CONNECTIONS = Gauge("parley_websocket_connections", "Open WebSockets.", multiprocess_mode="livesum")
FRAMES_IN = Counter("parley_frames_in_total", "Frames received from clients.", ["type"])
FRAMES_OUT = Counter("parley_frames_out_total", "Frames delivered to clients.")
CLOSED = Counter("parley_websocket_closed_total", "WebSockets closed by us, by close code.", ["code"])
GAPS = Counter("parley_stream_gaps_total", "Events a hub had to read from the ledger.")
CACHE_LOOKUPS = Counter("parley_cache_lookups_total", "Lookups in a cache, by layer.", ["cache", "layer", "outcome"])
FORGOTTEN = Counter("parley_forgotten_total", "Rows deleted because their time was over, by kind.", ["kind"])
TASKS = Counter("parley_tasks_total", "Celery tasks run, by outcome.", ["task", "outcome"])
TASK_SECONDS = Histogram("parley_task_seconds", "Time a Celery task took.", ["task"])
