"""Workers die in the middle of their work, and meet work that kills, fails or never ends."""

import time
from types import ModuleType
from typing import Any

import psycopg
import pytest

from shared.runtime import Runtime
from tests.faults.drill import pause
from tests.faults.report import Figures
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(900)]

TASK_SECONDS = 6
MAX_ATTEMPTS = 5


def enqueue(runtime: Runtime, job: Any) -> None:
    """Decide that a job shall run, as a request would."""
    with runtime.transaction() as tx:
        tx.enqueue(job)


def rows(database: "psycopg.Connection[Any]", name: str, since: Any) -> list[tuple[str, int]]:
    """Return state and attempts of the jobs of a name."""
    query = "SELECT state, attempts FROM outbox WHERE name = %s AND created_at >= %s ORDER BY id"
    return database.execute(query, [name, since]).fetchall()


def effects(database: "psycopg.Connection[Any]", label: str) -> int:
    """Return how often a piece of work left its row."""
    return database.execute("SELECT 1 FROM fault_effects WHERE name = %s", [label]).rowcount


@pytest.mark.parametrize("what", ["pool process", "whole worker"])
def test_work_in_the_middle_of_which_a_worker_dies_is_done_once(
    site: Site,
    site_runtime: Runtime,
    poison: ModuleType,
    database: "psycopg.Connection[Any]",
    figures: Figures,
    what: str,
) -> None:
    label, own = f"{what} {time.time()}", 4.0
    enqueue(site_runtime, poison.Work(label=label, seconds=own))
    running = "SELECT 1 FROM outbox WHERE payload->>'label' = %s AND state = 'running'"
    site.until(lambda: database.execute(running, [label]).rowcount == 1, 20, "the work has begun")
    began = time.monotonic()
    for index in (0, 1):  # nobody says which of the two has it
        if what == "pool process":
            site.kill_child(f"worker{index}")
        else:
            site.kill(f"worker{index}")
            site.restart(f"worker{index}")
    site.until(lambda: effects(database, label) > 0, 200, "the work is done", pause=0.2)
    took = time.monotonic() - began
    promised = 15 + own if what == "pool process" else 135
    figures(
        "F3" if what == "pool process" else "F4",
        f"{what} killed in the middle of {own:.0f} s of work",
        f"done ≤ {promised:.0f} s, once",
        done_after=took,
        effects=effects(database, label),
    )
    pause(5)
    assert effects(database, label) == 1
    assert took <= promised


def test_poisonous_work_is_given_up_after_five_attempts_and_holds_up_nothing(
    site: Site, site_runtime: Runtime, poison: ModuleType, database: "psycopg.Connection[Any]", figures: Figures
) -> None:
    for index in (0, 1):
        site.terminate(f"worker{index}")
        site.restart(f"worker{index}", PARLEY_FAULTS_TASK_SECONDS=str(TASK_SECONDS))
    site.wait_until_ready()
    poisons = (poison.Fail(), poison.Die(), poison.Loop())
    began = time.monotonic()
    (since,) = database.execute("SELECT now()").fetchone() or (None,)  # others have given up work before
    for job in poisons:
        enqueue(site_runtime, job)
    longest = 0.0
    names = [job.name for job in poisons]
    ended = "SELECT count(*) FROM outbox WHERE name = ANY(%s) AND state = 'dead' AND created_at >= %s"
    while (database.execute(ended, [names, since]).fetchone() or (0,))[0] < len(poisons):
        assert time.monotonic() - began < 420, {name: rows(database, name, since) for name in names}
        label = f"between {time.monotonic()}"
        asked = time.monotonic()
        enqueue(site_runtime, poison.Work(label=label, seconds=0))
        site.until(lambda label=label: effects(database, label) == 1, 120, "other work is done")  # type: ignore[misc]
        longest = max(longest, time.monotonic() - asked)
        pause(0.5)
    took = time.monotonic() - began
    attempts = {name: rows(database, name, since)[-1][1] for name in names}
    figures(
        "F27",
        f"work that raises, kills its process, never ends (time limit {TASK_SECONDS} s here)",
        "≤ 5 attempts, then dead; other work waits no longer than the time limit",
        attempts=attempts,
        all_dead_after=took,
        longest_wait_of_other_work=longest,
    )
    for index in (0, 1):
        site.kill(f"worker{index}")
    assert all(state == "dead" for name in names for state, _ in rows(database, name, since))
    assert max(attempts.values()) <= MAX_ATTEMPTS
    assert longest <= TASK_SECONDS + 5
