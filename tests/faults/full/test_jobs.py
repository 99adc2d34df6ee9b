"""Work that was accepted comes to an end, once, whatever is killed and forgotten meanwhile (promise P8)."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import psycopg
import pytest
import redis

from dev.http_client import Api
from shared.core.messages import Job
from shared.runtime import Runtime
from tests.faults.clients import Seat
from tests.faults.drill import Drill, pause
from tests.faults.report import Figures
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(900)]

WORK_SECONDS = 0.2
LONGEST_DELAY, LONGEST_AFTER_LOSS = 135.0, 30.0


class Load:
    """Accepts jobs of three kinds, and knows how many: some leave one effect, hosts ask for some, some fail."""

    def __init__(self, site: Site, runtime: Runtime, poison: ModuleType, seats: Sequence[Seat]) -> None:
        self.poison = poison
        self._runtime = runtime
        self.seats = seats
        self.host = Api(site.url, self.seats[0].token)
        self.prefix = f"p8 {time.time()}"
        self.works = 0
        self.batches: list[str] = []
        self.failing = 0

    @property
    def accepted(self) -> int:
        """Return how many there are."""
        return self.works + len(self.batches) + self.failing

    def work(self, count: int) -> None:
        """Accept so much work."""
        jobs = [self.poison.Work(label=f"{self.prefix} {self.works + n}", seconds=WORK_SECONDS) for n in range(count)]
        self.works += count
        self._enqueue(*jobs)

    def fail(self, count: int) -> None:
        """Accept so much that cannot be done."""
        self.failing += count
        self._enqueue(*(self.poison.Fail() for _ in range(count)))

    def batch(self, count: int) -> None:
        """Have so many people muted, each by a job of its own."""
        for _ in range(count):
            somebody = self.seats[1 + len(self.batches)]
            wanted = {"updates": [{"participant_id": somebody.participant_id, "is_muted": True}]}
            answer = self.host.post(f"/meetings/{somebody.meeting_id}/participants/batch", wanted)
            assert answer.status == 202, answer.body
            self.batches.append(answer.data["job_id"])

    def _enqueue(self, *jobs: Job) -> None:
        with self._runtime.transaction() as tx:
            for job in jobs:
                tx.enqueue(job)


def ends(database: "psycopg.Connection[Any]", since: Any) -> Counter[str]:
    """Return how many rows of the outbox, of those that are no webhooks, are in which state."""
    query = "SELECT state, count(*) FROM outbox WHERE created_at >= %s AND lane <> 'webhooks' GROUP BY state"
    return Counter(dict(database.execute(query, [since]).fetchall()))


def kill_in_the_middle(site: Site, database: "psycopg.Connection[Any]", name: str) -> None:
    """Kill a worker while some work is in hand, and start it again."""
    running = "SELECT 1 FROM outbox WHERE state = 'running' AND name = 'faults.work'"
    site.until(lambda: database.execute(running).rowcount > 0, 30, "some work is in hand", pause=0.01)
    site.kill(name)
    site.restart(name)


def wait_until_begun(site: Site, database: "psycopg.Connection[Any]") -> None:
    """Wait until hardly anything is in line: a delay is to be one of what broke, and not of the line."""
    line = "SELECT 1 FROM outbox WHERE name = 'faults.work' AND state = 'pending' AND attempts = 0"
    site.until(lambda: database.execute(line).rowcount <= 10, 120, "hardly anything is in line")


def lose_everything(site: Site, database: "psycopg.Connection[Any]") -> tuple[float, float]:
    """FLUSHALL; return how long it took until all that was waiting then was sent again, and until it was all begun."""
    with redis.Redis.from_url(site.valkey.url) as client:
        client.flushall()
    began = time.monotonic()
    waiting = "SELECT id, next_at FROM outbox WHERE state = 'pending' AND attempts = 0"
    ids, times = zip(*database.execute(waiting).fetchall(), strict=True)
    assert len(ids) > 40
    # The relay puts off when it looks again at what it sends.
    unsent = """SELECT 1 FROM outbox o JOIN unnest(%s::text[], %s::timestamptz[]) AS w (id, next_at) ON w.id = o.id
        WHERE o.state = 'pending' AND o.attempts = 0 AND (o.next_at = w.next_at OR o.next_at <= now())"""
    before = [list(ids), list(times)]
    site.until(lambda: database.execute(unsent, before).rowcount == 0, 120, "all of it was sent again")
    sent_again = time.monotonic() - began
    untouched = "SELECT 1 FROM outbox WHERE id = ANY(%s) AND state = 'pending' AND attempts = 0"
    site.until(lambda: database.execute(untouched, before[:1]).rowcount == 0, 120, "all of it was begun")
    return sent_again, time.monotonic() - began


def test_500_accepted_jobs_come_to_an_end_once_though_workers_beats_and_valkey_fail(
    site: Site,
    site_runtime: Runtime,
    poison: ModuleType,
    drill: Callable[..., Drill],
    database: "psycopg.Connection[Any]",
    figures: Figures,
) -> None:
    with drill(clients=31, senders=1) as running:  # who is not connected leaves, and is muted no more
        load = Load(site, site_runtime, poison, [client.seat for client in running.crowd.clients])
        _try(site, load, database, figures)


def _try(site: Site, load: Load, database: "psycopg.Connection[Any]", figures: Figures) -> None:
    (began,) = database.execute("SELECT now()").fetchone() or (None,)
    load.fail(10)
    for number in range(3):
        load.work(80)
        load.batch(8)
        kill_in_the_middle(site, database, f"worker{number % 2}")
        wait_until_begun(site, database)
        if number < 2:  # of two beats one leads: this way it is among those that were killed
            site.kill(f"beat{number}")
            pause(3)
            site.restart(f"beat{number}")
    load.work(100)
    load.batch(3)
    sent_again, begun = lose_everything(site, database)
    for number in range(2):
        load.work(60)
        load.batch(1 + number)
        kill_in_the_middle(site, database, f"worker{number % 2}")
        wait_until_begun(site, database)
    assert load.accepted == 500

    def are_over() -> bool:
        counts = ends(database, began)
        return counts["done"] + counts["dead"] >= load.accepted and not counts["pending"] + counts["running"]

    site.until(are_over, 300, "all jobs are over", pause=0.5)
    took = "SELECT extract(epoch FROM max(finished_at - created_at)) FROM outbox WHERE name = 'faults.work'"
    longest = float(database.execute(f"{took} AND created_at >= %s", [began]).fetchone()[0]) - WORK_SECONDS  # type: ignore[index]
    done_once = "SELECT count(*), count(DISTINCT name) FROM fault_effects WHERE name LIKE %s"
    effects, different = database.execute(done_once, [f"{load.prefix} %"]).fetchone() or (0, 0)
    told = "SELECT count(*) FROM events WHERE stream = %s AND type = 'participant_update'"
    (muted,) = database.execute(told, [f"m:{load.seats[0].meeting_id}"]).fetchone() or (0,)
    statuses = Counter(load.host.get(f"/jobs/{job_id}").data["status"] for job_id in load.batches)
    dead = database.execute(
        "SELECT max(attempts), count(error) FROM outbox WHERE name = 'faults.fail' AND created_at >= %s", [began]
    ).fetchone()
    figures(
        "P8",
        "500 jobs; workers killed 5 times with work in hand, each of two beats once, FLUSHALL once",
        "all come to an end; effects once; ≤ 135 s; after the loss sent again ≤ 30 s",
        done=load.works + len(load.batches),
        given_up=load.failing,
        effects_of_work=effects,
        twice=effects - different,
        batches_told=muted,
        longest_delay=longest,
        sent_again_after=sent_again,
        all_begun_after=begun,
        beats_restarted=site.beats_revived(),
    )
    assert (effects, different, muted) == (load.works, load.works, len(load.batches))
    assert statuses == {"succeeded": len(load.batches)}
    assert dead == (5, load.failing)
    assert longest <= LONGEST_DELAY
    assert sent_again <= LONGEST_AFTER_LOSS
