"""`python -m bench.joins`: a burst of people who all join at once, and how long it takes until each has an answer.

Starts web processes on an empty database, makes the people beforehand, and sends all requests at the same moment over
connections that are open already. Prints the medians over the rounds.
"""

import argparse
import statistics
import sys

from bench.site import site
from tests.factories.world import Person, World
from tests.stack import Stack
from tests.volley import Hit, Shot, volley

GOAL_ALL_SECONDS = 1.0
GOAL_P99_MILLISECONDS = 250.0


def main() -> int:
    """Run from the command line; 1 when a goal was missed."""
    wanted = _arguments()
    walls, p50s, p99s = [], [], []
    with site(wanted.database, wanted.webs) as (stack, world):
        people = [world.person() for _ in range(wanted.people)]
        _burst(stack, world, people)  # the first one opens the connections to the database
        for _ in range(wanted.rounds):
            hits = _burst(stack, world, people)
            milliseconds = sorted(hit.seconds * 1000 for hit in hits)
            walls.append(milliseconds[-1] / 1000)
            p50s.append(statistics.median(milliseconds))
            p99s.append(milliseconds[int(len(milliseconds) * 0.99)])
    wall, p50, p99 = (statistics.median(figures) for figures in (walls, p50s, p99s))
    print(
        f"{wanted.people} joins at once, {wanted.webs} web processes, {wanted.database}, median of {wanted.rounds}: "
        f"all answered in {wall:.3f} s (from {min(walls):.3f} to {max(walls):.3f}), "
        f"answer p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )
    reached = wall <= GOAL_ALL_SECONDS and p99 <= GOAL_P99_MILLISECONDS
    print(f"goal: all within {GOAL_ALL_SECONDS:.0f} s and p99 <= {GOAL_P99_MILLISECONDS:.0f} ms: {_said(reached)}")
    return 0 if reached else 1


def _said(reached: bool) -> str:
    return "reached" if reached else "missed"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.joins", description=__doc__)
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--webs", type=int, default=2, help="web processes (2)")
    parser.add_argument("--people", type=int, default=50, help="people who join at once (50)")
    parser.add_argument("--rounds", type=int, default=9, help="bursts, each into a new meeting (9)")
    return parser.parse_args()


def _burst(stack: Stack, world: World, people: list[Person]) -> list[Hit]:
    host = world.person()
    meeting_id = world.meeting(host, policy={"max_participants": len(people)})
    webs = len(stack.ports)
    hits = volley(
        [Shot(stack.url_of(n % webs), person.token, f"/meetings/{meeting_id}/join") for n, person in enumerate(people)]
    )
    if {hit.status for hit in hits} != {200}:
        raise SystemExit(f"not everybody was let in: {sorted(hit.status for hit in hits)}")
    return hits


if __name__ == "__main__":
    sys.exit(main())
