"""`python -m bench.batch`: what a worker needs to change 500 people, beside an ORM, and how long for 10 000 (G10).

The worker's own code (`workers.task.run_job`) and the ORM (`bench/peers/orm_batch.py`) run in this process by turns, on
the same PostgreSQL, the same tables and the same meeting; before each turn everybody is put back as they were. What is
compared is the CPU time of this process, all threads together; PostgreSQL's own is not in it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import redis
from sqlalchemy import select, update

import workers.participants  # noqa: F401  registers the work
from bench.peers import orm_batch
from bench.population import Population
from bench.site import site
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.jobs.models import JobState
from shared.participants import batch
from shared.participants.jobs import UpdateParticipants
from shared.participants.models import ATTENDEE, participants
from shared.runtime import Runtime
from workers.task import run_job

PEOPLE, MANY = 500, 10_000
GOAL_RATIO, GOAL_SECONDS = 3.0, 3.0


def main() -> int:
    """Run from the command line; 1 when a goal was missed."""
    wanted = _arguments()
    with site("postgres", webs=0) as (_, world):
        runtime = world.runtime
        population = Population(runtime, lambda *_: "")
        hall = Hall(runtime, population, PEOPLE)
        rounds = [(hall.seconds(hall.by_worker), hall.seconds(hall.by_orm)) for _ in range(wanted.rounds + 1)][1:]
        large = Hall(runtime, population, MANY)
        walls = [large.seconds(large.all_by_worker, time.perf_counter) for _ in range(wanted.large_rounds)]
    ours, theirs = (statistics.median(seconds) * 1000 for seconds in zip(*rounds, strict=True))
    ratios = sorted(theirs / ours for ours, theirs in rounds)
    ratio = statistics.median(ratios)
    print(f"{PEOPLE} people, CPU of one process: {ours:.1f} ms, by the ORM {theirs:.1f} ms")
    print(f"ratio, median of {wanted.rounds} rounds: {ratio:.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"{MANY} people: {statistics.median(walls):.2f} s of time (from {min(walls):.2f} to {max(walls):.2f})")
    reached = ratio >= GOAL_RATIO and statistics.median(walls) < GOAL_SECONDS
    print(f"goal: ratio >= {GOAL_RATIO:.0f}, {MANY} in < {GOAL_SECONDS:.0f} s: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help=f"turns of each with {PEOPLE} people (11)")
    parser.add_argument("--large-rounds", type=int, default=3, help=f"jobs of {MANY} people (3)")
    return parser.parse_args()


class Hall:
    """A running meeting with a host and so many others inside, who can be muted in two ways."""

    def __init__(self, runtime: Runtime, population: Population, people: int) -> None:
        self._runtime = runtime
        self._client = redis.Redis.from_url(runtime.settings.redis_url)
        (self._meeting_id,) = population.joined(1, people + 1)
        host = population.people(1)[0]
        self._host = Actor(name=host.name, user_id=host.user_id)
        self._others = participants.c.meeting_id == self._meeting_id, participants.c.role == ATTENDEE
        with runtime.reading() as tx:
            ids = [row.id for row in tx.all(select(participants.c.id).where(*self._others))]
        self._updates = [{"participant_id": id_, "is_muted": True} for id_ in ids]

    def by_worker(self) -> Callable[[], None]:
        """Have it accepted, each person by name, as the REST door does; return what the worker does."""
        return self._accepted(lambda tx: batch.update_each(tx, self._meeting_id, self._host, self._updates))

    def all_by_worker(self) -> Callable[[], None]:
        """Have it accepted to mute everybody; return what the worker does."""
        return self._accepted(lambda tx: batch.mute_all(tx, self._meeting_id, self._host))

    def _accepted(self, accept: Callable[[Transaction], JobState]) -> Callable[[], None]:
        with self._runtime.transaction() as tx:
            job_id = accept(tx).id

        def work() -> None:
            outcome = run_job(self._runtime, UpdateParticipants.name, job_id)
            if outcome != "done":
                raise SystemExit(f"the job was {outcome}")

        return work

    def by_orm(self) -> Callable[[], None]:
        """Return what a worker with an ORM does."""
        who, now = self._host.user_id or "", self._runtime.now()

        def work() -> None:
            orm_batch.change(self._runtime.database.engine, self._client, self._meeting_id, who, self._updates, now)

        return work

    def seconds(self, way: Callable[[], Callable[[], None]], clock: Callable[[], float] = time.process_time) -> float:
        """Return what one way takes by a clock: CPU unless said otherwise. It begins with nobody muted."""
        with self._runtime.transaction() as tx:
            tx.execute(update(participants).where(*self._others).values(is_muted=False))
        work = way()
        began = clock()
        work()
        seconds = clock() - began
        with self._runtime.reading() as tx:
            muted = len(tx.all(select(participants.c.id).where(*self._others, participants.c.is_muted)))
        if muted != len(self._updates):
            raise SystemExit(f"{muted} of {len(self._updates)} people were changed")
        return seconds


if __name__ == "__main__":
    sys.exit(main())
