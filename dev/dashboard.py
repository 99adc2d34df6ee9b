"""The dashboard: `docker/grafana/parley.json`, made from the rows below by `python -m dev.reference`.

tests/contract/test_observe.py holds it against the metrics that the code exports: none is missing, none is unknown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, COLUMNS = 8, 8, 24
SOURCE = {"type": "prometheus", "uid": "${source}"}
RATE = "[$__rate_interval]"
# What probes ask is no traffic.
TRAFFIC = 'route!~"/(healthz|readyz|metrics)"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: what it is called, the unit, the queries with their legends, and what a reader should know."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    note: str = ""


def quantiles(metric: str, by: str = "", where: str = "") -> list[tuple[str, str]]:
    """Return the queries for the median and the 99th percentile of a histogram."""
    groups, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    return [
        (f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{where}{RATE})))", f"{name}{legend}")
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    ]


def rate(metric: str, by: str = "", where: str = "") -> tuple[str, str]:
    """Return the query for how much of something comes a second, by some labels."""
    groups = f" by ({by})" if by else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", ")) if by else "all"
    return f"sum{groups} (rate({metric}{where}{RATE}))", legend


ROWS: dict[str, Sequence[Panel]] = {
    "Is it well": (
        Panel(
            "Database, Redis, scraped",
            "short",
            [
                ("min(parley_database_up)", "database"),
                ("min(parley_redis_up)", "redis"),
                ("min by (job) (up)", "{{job}}"),
            ],
            "1 is up.",
        ),
        Panel(
            "Silence of workers",
            "s",
            [("max(parley_worker_silence_seconds)", "since the last sign")],
            "20 s: none.",
        ),
        Panel(
            "Answers that are our fault",
            "percentunit",
            [
                (
                    f'sum(rate(parley_requests_total{{status=~"5..",{TRAFFIC}}}{RATE})) '
                    f"/ sum(rate(parley_requests_total{{{TRAFFIC}}}{RATE}))",
                    "5xx",
                )
            ],
        ),
    ),
    "Requests": (
        Panel("Requests", "reqps", [rate("parley_requests_total", "status", f"{{{TRAFFIC}}}")]),
        Panel("Time to answer", "s", quantiles("parley_request_seconds", where=f"{{{TRAFFIC}}}")),
        Panel(
            "Slowest routes, p99",
            "s",
            [
                (
                    "topk(8, histogram_quantile(0.99, sum by (le, method, route) "
                    f"(rate(parley_request_seconds_bucket{{{TRAFFIC}}}{RATE}))))",
                    "{{method}} {{route}}",
                )
            ],
        ),
        Panel(
            "Line of requests",
            "short",
            [
                ("sum(parley_requests_waiting)", "waiting"),
                (f"sum by (why) (rate(parley_requests_refused_total{RATE}))", "refused a second: {{why}}"),
            ],
        ),
        Panel("Joins", "ops", [rate("parley_joins_total", "outcome")]),
        Panel(
            "Found in the cache",
            "percentunit",
            [
                (
                    f'sum by (cache, layer) (rate(parley_cache_lookups_total{{outcome="hit"}}{RATE})) '
                    f"/ sum by (cache, layer) (rate(parley_cache_lookups_total{RATE}))",
                    "{{cache}} {{layer}}",
                )
            ],
        ),
    ),
    "WebSockets": (
        Panel("Connections", "short", [("sum by (instance) (parley_websocket_connections)", "{{instance}}")]),
        Panel("Frames in", "ops", [rate("parley_frames_in_total", "type")]),
        Panel("Frames out", "ops", [rate("parley_frames_out_total")]),
        Panel("From the commit to the sockets", "s", quantiles("parley_fanout_seconds"), "Promised: p99 below 100 ms."),
        Panel(
            "Read from the ledger",
            "ops",
            [rate("parley_stream_gaps_total")],
            "Events that came by no wake-up. Some at each restart of Redis are normal, a steady flow is not.",
        ),
        Panel("Closed by us", "ops", [rate("parley_websocket_closed_total", "code")]),
    ),
    "Jobs": (
        Panel("Age of the oldest job", "s", [("max by (lane) (parley_outbox_oldest_seconds)", "{{lane}}")]),
        Panel(
            "Jobs not done",
            "short",
            [
                ("max by (lane, state) (parley_outbox_rows)", "{{lane}} {{state}}"),
                ("max by (lane) (parley_queue_messages)", "{{lane}} in the broker"),
            ],
        ),
        Panel("Dead letters", "short", [("max by (lane) (parley_dead_letters)", "{{lane}}")]),
        Panel("From the decision to the beginning", "s", quantiles("parley_job_wait_seconds", "lane")),
        Panel("Tasks", "ops", [rate("parley_tasks_total", "outcome")]),
        Panel(
            "Tasks that went wrong",
            "ops",
            [rate("parley_tasks_total", "task, outcome", '{outcome=~"retry|dead|failed"}')],
        ),
        Panel(
            "Slowest tasks, p99",
            "s",
            [
                (
                    f"topk(8, histogram_quantile(0.99, sum by (le, task) (rate(parley_task_seconds_bucket{RATE}))))",
                    "{{task}}",
                )
            ],
        ),
        Panel("Tasks at work", "short", [("sum by (instance) (parley_tasks_running)", "{{instance}}")]),
        Panel("Rows forgotten", "ops", [rate("parley_forgotten_total", "kind")]),
    ),
    "Others": (
        Panel("Calls to LiveKit", "ops", [rate("parley_livekit_seconds_count", "call, outcome")]),
        Panel("Time of LiveKit's answers", "s", quantiles("parley_livekit_seconds", "call")),
        Panel("Webhooks sent", "ops", [rate("parley_webhook_seconds_count", "outcome")]),
        Panel("Time of their receivers", "s", quantiles("parley_webhook_seconds", "outcome")),
        Panel(
            "Receivers that are not tried for now", "short", [("max(parley_webhook_circuits_open)", "open circuits")]
        ),
    ),
}


def dashboard() -> str:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "id": len(panels) + 1, "title": title, "gridPos": _place(0, y, COLUMNS, 1)})
        y += 1
        for index, panel in enumerate(row):
            across, down = index % (COLUMNS // WIDTH), index // (COLUMNS // WIDTH)
            place = _place(across * WIDTH, y + down * HEIGHT, WIDTH, HEIGHT)
            panels.append(_graph(panel, len(panels) + 1, place))
        y += -(-len(row) // (COLUMNS // WIDTH)) * HEIGHT
    board = {
        "title": "Parley",
        "uid": "parley",
        "description": "Made by `python -m dev.reference` from dev/dashboard.py; changes by hand are lost.",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }
    return json.dumps(board, indent=1) + "\n"


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _graph(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "id": number,
        "title": panel.title,
        "description": panel.note,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }
