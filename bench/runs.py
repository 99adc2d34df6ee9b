"""One measured run: a fresh server, its sockets, its load, and what it used meanwhile."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench import client, measure
from bench.client import LoadClient
from bench.ground import Ground
from bench.servers import Contestant, Running
from bench.workloads import Workload

MILLION = 1e6
# Before anything is measured: whatever a server does once (imports, statements it compiles) shall be done.
WARM_UP = Workload(name="warm-up", rooms=1, size=8, window=1, seconds=0.3, warm=0.1, settle=0.2, drain=1.0)

Figures = dict[str, float]


def run(contestant: Contestant, workload: Workload, ground: Ground) -> Figures:
    """Start a contestant, load it, stop it. Returns the figures of `drive`."""
    with contestant.serving(ground, workload) as server:
        drive(server, replace(WARM_UP, kind=workload.kind), ground)
        return drive(server, workload, ground)


def drive(server: Running, workload: Workload, ground: Ground) -> Figures:
    """Load a server that runs, and return what came of it: what the client saw, and CPU and memory of the server."""
    targets, dialect = server.targets(workload), server.dialect(workload)
    pids = measure.tree(server.process.pid)
    empty = measure.memory(pids)
    figures: Figures = {}
    with client.running(ground.client, ground.directory, server.port, targets, dialect, workload) as load:
        if workload.handshakes:
            figures |= _watch(load, pids, ground)
        else:
            opened = load.ready()
            figures["kb_per_socket"] = (measure.memory(pids) - empty) / max(1, opened) / 1000
            resident = measure.resident(pids)
            with server.beside(workload) as beside:
                load.go()
                figures |= _watch(load, pids, ground)
            figures["memory_growth_mb"] = (measure.resident(pids, peak=True) - resident) / 1e6
            figures |= beside
        figures |= _flat(load.report())
    return figures | _per_unit(figures)


def _watch(load: LoadClient, pids: list[int], ground: Ground) -> Figures:
    """Measure CPU from `start` to `end`, in seconds."""
    load.wait_for("start")
    began, before = time.monotonic(), measure.cpu_time(pids)
    others, busy = _cpu_of_others(ground), measure.busy_seconds()
    load.wait_for("end")
    used, elapsed = measure.cpu_time(pids) - before, time.monotonic() - began
    figures = {name: _grown(others[name], now) for name, now in _cpu_of_others(ground).items()}
    figures |= {"server_cpu": used.total, "server_user": used.user, "server_kernel": used.kernel}
    figures |= {"server_busy": used.total / elapsed, "machine_cpu": measure.busy_seconds() - busy}
    return figures


def _cpu_of_others(ground: Ground) -> dict[str, dict[int, float]]:
    """Return the CPU seconds of each process of the servers behind the server."""
    servers = {"valkey_cpu": ground.valkey.process, "postgres_cpu": ground.postgres.process}
    return {
        name: {pid: measure.cpu_time([pid]).total for pid in measure.tree(server.pid)}
        for name, server in servers.items()
        if server is not None
    }


def _grown(before: Mapping[int, float], now: Mapping[int, float]) -> float:
    """Return what was used in between; PostgreSQL starts and ends processes meanwhile."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items())


def _per_unit(figures: Figures) -> Figures:
    """Return what the figures say of one delivery or one handshake."""
    seconds = figures["seconds"]
    ours = ("server_cpu", "client_cpu", "valkey_cpu", "postgres_cpu")
    found = {
        "client_busy": figures["client_cpu"] / seconds,
        "foreign_busy": (figures["machine_cpu"] - sum(figures.get(name, 0) for name in ours)) / seconds,
    }
    if handshakes := figures.get("handshakes"):
        found["handshakes_per_second"] = handshakes / seconds
        found["cpu_ms_per_handshake"] = figures["server_cpu"] / handshakes * 1000
    if delivered := figures["delivered"]:
        found["deliveries_per_second"] = delivered / seconds
        for name in ("cpu", "user", "kernel"):
            found[f"{name}_per_million"] = figures[f"server_{name}"] / delivered * MILLION
    return found


def _flat(report: dict[str, Any]) -> Figures:
    """Return the numbers of a report, those of the close codes as `closes_CODE`."""
    closes = {f"closes_{code}": float(count) for code, count in report["closes"].items()}
    numbers = {name: float(value) for name, value in report.items() if not isinstance(value, dict)}
    return {**{name: value for name, value in numbers.items() if value >= 0}, **closes}
