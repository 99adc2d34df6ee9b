"""`python -m bench`: run the benchmarks and say which goals are reached (docs/operate/performance.md)."""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

from bench import client, ground, report, runs, servers
from bench.figures import shown
from bench.goals import (
    CHANNELS,
    FASTAPI,
    FLASK_SOCK,
    FLOOR,
    HOT,
    HOT_ACK_MS,
    HOT_RATES,
    HOT_ROOM,
    PARLEY,
    SOCKETIO,
    Race,
    races,
)
from bench.ground import Ground
from bench.product import Product, Site
from bench.programs import NoCompiler
from bench.runs import Figures
from bench.servers import Contestant

ROUNDS = 3
REST_SECONDS = 1.0  # between two runs, for what the last one left behind in kernel and database

Results = dict[str, dict[str, list[Figures | None]]]


def main() -> int:
    """Run from the command line; 2 when something is missing. A missed goal is a result, not an error."""
    wanted = _arguments()
    if not ground.PEER_PROGRAMS.is_dir():
        print("The peers are not installed; `make bench` does that.", file=sys.stderr)
        return 2
    try:
        with ground.ready() as base:
            return _run(base, wanted)
    except NoCompiler as missing:
        print(missing, file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a subset, one round: about two minutes")
    parser.add_argument("--rounds", type=int, help=f"rounds of each comparison ({ROUNDS}; 1 when quick)")
    parser.add_argument("--only", nargs="+", metavar="GOAL", help="only these goals, for example G1 G11")
    return parser.parse_args()


def _run(base: Ground, wanted: argparse.Namespace) -> int:
    about = report.machine(base)
    for name, value in about.items():
        print(f"{name}: {value}")
    print(f"server on core {ground.SERVER_CORE}, everything else on core {ground.OTHER_CORE}\n")
    contestants = _contestants(Product(Site(base)))
    results: Results = {}
    chosen = [race for race in races(quick=wanted.quick) if not wanted.only or race.goals & set(wanted.only)]
    for race in chosen:
        _compare(race, contestants, wanted.rounds or (1 if wanted.quick else ROUNDS), base, results)
    if not wanted.quick and (not wanted.only or "G11" in wanted.only):
        results[HOT_ROOM] = {PARLEY: [_hottest(contestants[PARLEY], base)]}
    print(f"\n{report.costs_table(results)}\n\n{report.goals_table(results)}\n")
    for warning in report.warnings(results):
        print(warning)
    print(f"kept in {report.keep(results, about, quick=wanted.quick).relative_to(ground.PROJECT)}")
    return 0


def _contestants(product: Product) -> dict[str, Contestant]:
    return {
        PARLEY: product,
        FLOOR: servers.FLOOR,
        SOCKETIO: servers.FLASK_SOCKETIO,
        FASTAPI: servers.FASTAPI,
        CHANNELS: servers.CHANNELS,
        FLASK_SOCK: servers.FLASK_SOCK,
    }


def _compare(race: Race, contestants: dict[str, Contestant], rounds: int, base: Ground, results: Results) -> None:
    """Run a race; what fails is reported and leaves a gap."""
    for _ in range(rounds):
        for workload, name in race.runs:
            figures: Figures | None = None
            try:
                figures = runs.run(contestants[name], workload, base)
                print(report.line(workload.label, name, figures), flush=True)
            except (client.ClientFailed, servers.DidNotStart, subprocess.SubprocessError) as failed:
                print(f"{workload.label:26} {name:15} FAILED\n{failed}", flush=True)
            results.setdefault(workload.name, {}).setdefault(name, []).append(figures)
            time.sleep(REST_SECONDS)


def _hottest(product: Contestant, base: Ground) -> Figures:
    """Raise the rate of one room until acks take too long. Returns the last rate that was fine, and its figures."""
    best: dict[str, Any] = {"rate": 0.0}
    with product.serving(base, HOT) as server:
        for rate in HOT_RATES:
            figures = runs.drive(server, replace(HOT, rate=rate), base)
            ack = figures.get("ack_p99_ms", float("inf"))
            print(f"{HOT_ROOM}, {rate}/s: ack p99 {shown(ack, ' ms')}, lost {figures['missing']:.0f}", flush=True)
            if ack > HOT_ACK_MS or figures["missing"] or figures["errors"]:
                break
            best = {**figures, "rate": float(rate)}
    return best


if __name__ == "__main__":
    sys.exit(main())
