"""What is printed and kept of a benchmark."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy

from bench.figures import Figures, median, median_of, shown, table
from bench.goals import GOALS, Goal, Results
from bench.ground import PROJECT, Ground

RESULTS = Path(__file__).resolve().parent / "results"
KEPT = (
    *("cpu_per_million", "user_per_million", "kernel_per_million", "deliveries_per_second", "latency_p50_ms"),
    *("latency_p99_ms", "latency_max_ms", "ack_p50_ms", "ack_p99_ms", "late_p99_ms", "missing", "stalls", "errors"),
    *("refused", "open_seconds", "kb_per_socket", "memory_growth_mb", "handshakes_per_second", "cpu_ms_per_handshake"),
    *("server_busy", "client_busy", "foreign_busy", "joins_per_second", "joins_p99_ms", "rate"),
)
MUCH_FOREIGN, MUCH_CLIENT = 0.2, 0.9  # cores
ANSWERS = {True: "yes", False: "no", None: ""}


def line(label: str, contestant: str, figures: Figures) -> str:
    """Return one run as a line."""
    words = [
        shown(figures.get("deliveries_per_second"), " deliveries/s"),
        shown(figures.get("cpu_per_million"), " s/M"),
        shown(figures.get("latency_p99_ms"), " ms p99"),
        shown(figures.get("handshakes_per_second"), " handshakes/s"),
        *(f"{figures[name]:.0f} {name}" for name in ("missing", "refused", "errors", "stalls") if figures.get(name)),
        f"server {figures.get('server_busy', 0):.2f}, client {figures.get('client_busy', 0):.2f}, "
        f"others {figures.get('foreign_busy', 0):.2f} cores",
    ]
    return f"{label:26} {contestant:15} {'  '.join(word for word in words if not word.startswith('-'))}"


def goals_table(results: Results, goals: Iterable[Goal] = GOALS) -> str:
    """Return the goals that were measured, with what was reached."""
    rows: list[Sequence[str]] = [("goal", "what", "reached", "wanted", "met")]
    for goal in goals:
        value = goal.figure(results)
        if value is not None:
            wanted = "" if goal.limit is None else f"{'<=' if goal.at_most else '>='} {shown(goal.limit, goal.unit)}"
            rows.append((goal.id, goal.what, shown(value, goal.unit), wanted, ANSWERS[goal.is_met(results)]))
    return table(rows)


def costs_table(results: Results) -> str:
    """Return the medians of every workload and contestant."""
    rows: list[Sequence[str]] = [
        (
            "workload",
            "server",
            "runs",
            "deliveries/s",
            "CPU s/M",
            "user",
            "kernel",
            "p50 ms",
            "p99 ms",
            "kB/socket",
            "lost",
        )
    ]
    names = ("deliveries_per_second", "cpu_per_million", "user_per_million", "kernel_per_million")
    more = ("latency_p50_ms", "latency_p99_ms", "kb_per_socket", "missing")
    for workload, contestants in results.items():
        for contestant, rounds in contestants.items():
            known = [figures for figures in rounds if figures is not None]
            cells = [str(len(known)), *(shown(median_of(known, name), "") for name in (*names, *more))]
            rows.append((workload, contestant, *cells))
    return table(rows)


def warnings(results: Results) -> list[str]:
    """Return what makes the figures doubtful."""
    known = [
        (workload, contestant, figures)
        for workload, contestants in results.items()
        for contestant, rounds in contestants.items()
        for figures in rounds
        if figures is not None
    ]
    found = []
    foreign = median(figures.get("foreign_busy") for _, _, figures in known)
    if foreign is not None and foreign > MUCH_FOREIGN:
        found.append(
            f"Other programs used {foreign:.1f} cores in the median run: ratios of costs hold, times and rates do not."
        )
    busy = sorted({f"{w} of {c}" for w, c, figures in known if figures.get("client_busy", 0) > MUCH_CLIENT})
    if busy:
        found.append(f"The load client was the bottleneck of: {', '.join(busy)}. Costs are right, rates are too low.")
    return found


def machine(ground: Ground) -> dict[str, str]:
    """Return on what was measured."""
    processor = [
        text.partition(":")[2].strip()
        for text in Path("/proc/cpuinfo").read_text().splitlines()
        if text.startswith("model name")
    ]
    engine = sqlalchemy.create_engine(ground.postgres.url)
    with engine.connect() as connection:
        asked = ("server_version", "synchronous_commit", "fsync")
        database = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in asked}
    engine.dispose()
    return {
        "processor": f"{os.cpu_count()} x {processor[0] if processor else platform.machine()}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "postgresql": ", ".join(f"{name} {value}" for name, value in database.items()),
    }


def keep(results: Results, about: dict[str, str], *, quick: bool) -> Path:
    """Write medians and rounds to a file of bench/results, and return it."""
    now = datetime.now(UTC)
    kept: dict[str, Any] = {
        "date": now.isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "revision": _revision(),
        "machine": about,
        "goals": [
            {"goal": goal.id, "what": goal.what, "reached": _round(goal.figure(results)), "met": goal.is_met(results)}
            for goal in GOALS
            if goal.figure(results) is not None
        ],
        "rounds": {
            workload: {name: [_kept(figures) for figures in rounds] for name, rounds in contestants.items()}
            for workload, contestants in results.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{now:%Y-%m-%d-%H%M}{'-quick' if quick else ''}.json"
    file.write_text(json.dumps(kept, indent=1) + "\n")
    return file


def _kept(figures: Figures | None) -> dict[str, float | None] | None:
    if figures is None:
        return None
    closes = sorted(name for name in figures if name.startswith("closes_"))
    return {name: _round(figures[name]) for name in (*KEPT, *closes) if name in figures}


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _revision() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607  whichever git there is
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
