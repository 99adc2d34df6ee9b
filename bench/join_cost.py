"""`python -m bench.join_cost`: CPU of one join, beside Django REST framework that does the same without ledger (G9).

One server process on a core of its own, started afresh for each turn; eight joins at a time into a hundred meetings,
each by somebody who is not there yet. The product is its rest process as it ships; the other is
`bench/peers/drf_joins.py` on gunicorn with eight threads. PostgreSQL's own CPU is told beside it, not in it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import ground, measure
from bench.ground import PEER_PROGRAMS, PROJECT, Ground
from bench.product import Product, Site
from bench.servers import started
from dev.postgres import SUPERUSER
from dev.process import LOOPBACK, free_port

GOAL = 2.0
MEETINGS = 100
WARM = 300  # joins before it is measured
DATABASE = "drf"
Served = tuple["subprocess.Popen[bytes]", int]


def main() -> int:
    """Run from the command line; 1 when the goal was missed."""
    wanted = _arguments()
    with ground.ready() as base:
        product, peer = Product(Site(base)), Peer(base)
        ours, theirs = [], []
        for _ in range(wanted.rounds):
            ours.append(_cost("Parley", base, product.rest, product.joins(MEETINGS, wanted.people)))
            theirs.append(_cost("DRF", base, peer.serving, peer.joins(MEETINGS, wanted.people)))
    ratios = sorted(other / own for own, other in zip(ours, theirs, strict=True))
    ratio = statistics.median(ratios)
    own, other = statistics.median(ours), statistics.median(theirs)
    print(f"median of {wanted.rounds} rounds: Parley {own:.2f} ms, DRF {other:.2f} ms a join")
    print(f"DRF to Parley {ratio:.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"goal: >= {GOAL:.0f}: {'reached' if ratio >= GOAL else 'missed'}")
    return 0 if ratio >= GOAL else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.join_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--people", type=int, default=20, help=f"who join each of {MEETINGS} meetings (20)")
    return parser.parse_args()


def _cost(name: str, base: Ground, serving: Callable[[Ground], Any], wanted: list[dict[str, str]]) -> float:
    """Let everybody join; return the milliseconds of CPU of one join."""
    with serving(base) as (process, port):
        _post(base, port, wanted[:WARM])
        before, database = measure.cpu_time(measure.tree(process.pid)), _database_seconds(base)
        joined = _post(base, port, wanted[WARM:])
        used = measure.cpu_time(measure.tree(process.pid)) - before
        in_database = _database_seconds(base) - database
    count = joined["requests"]
    print(
        f"{name:8} {used.total / count * 1000:.2f} ms of CPU a join, PostgreSQL {in_database / count * 1000:.2f} ms; "
        f"{count / joined['seconds']:.0f} joins/s, p99 {joined['p99_ms']:.0f} ms",
        flush=True,
    )
    return float(used.total / count * 1000)


def _database_seconds(base: Ground) -> float:
    assert base.postgres.process is not None
    return measure.cpu_time(measure.tree(base.postgres.process.pid)).total


def _post(base: Ground, port: int, wanted: list[dict[str, str]]) -> dict[str, Any]:
    """Post all of it, and return what came of it. This process is on the core of the clients, and so is the one that
    posts."""
    file = base.directory / "joins.json"
    file.write_text(json.dumps(wanted))
    command = [sys.executable, "-m", "bench.rest_load", str(port), str(file), "300"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    joined: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if joined["statuses"] != {"200": len(wanted)}:
        raise SystemExit(f"not everybody was let in: {joined['statuses']}")
    return joined


class Peer:
    """Django REST framework, with people and meetings of its own in a database of its own."""

    def __init__(self, base: Ground) -> None:
        self._base = base
        base.postgres.create_database(DATABASE)
        self._environ = {
            "PATH": os.defpath,
            "PYTHONPATH": str(PROJECT),
            "REDIS_URL": base.valkey.url,
            "PGHOST": LOOPBACK,
            "PGPORT": str(base.postgres.port),
            "PGUSER": SUPERUSER,
            "PGDATABASE": DATABASE,
        }

    @contextmanager
    def serving(self, base: Ground) -> Iterator[Served]:
        """Start it, and stop it at the end."""
        port = free_port()
        command = [
            *(str(PEER_PROGRAMS / "python"), "-m", "gunicorn", f"--bind={LOOPBACK}:{port}", "--workers=1"),
            *("--worker-class=gthread", "--threads=8", "--log-level=warning", "--no-control-socket"),
            "bench.peers.drf_joins:application",
        ]
        with started(command, port, self._environ, base.directory / "drf.log", path="/healthz") as process:
            yield process, port

    def joins(self, meetings: int, people: int) -> list[dict[str, str]]:
        """Return what is posted for so many people to join each of so many new meetings, in turn."""
        file: Path = self._base.directory / "drf-joins.json"
        command = [str(PEER_PROGRAMS / "python"), "-m", "bench.peers.drf_joins", str(meetings), str(people), str(file)]
        subprocess.run(command, cwd=PROJECT, env=self._environ, check=True)
        wanted: list[dict[str, str]] = json.loads(file.read_text())
        return wanted


if __name__ == "__main__":
    sys.exit(main())
