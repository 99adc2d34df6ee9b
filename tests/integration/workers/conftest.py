"""Workers and beats as real processes, on a database and a Valkey of the module's own: tests kill all of them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import Row

from dev.process import free_port
from dev.valkey import Valkey
from shared.core import outbox
from shared.core.database import LockTimeout
from shared.core.ids import new_id
from shared.core.messages import Job
from shared.core.settings import Settings
from shared.core.vitals import WORKER, is_alive, vitals
from shared.runtime import Runtime, build_runtime
from tests.factories.database import own_database
from tests.stack import Stack

JOBS_APP = "tests.integration.workers.jobs_app"


def eventually(holds: Callable[[], bool], seconds: float) -> float:
    """Wait until it holds; return how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Ground:
    """What a module's tests share."""

    runtime: Runtime
    valkey: Valkey
    stack: Stack
    directory: Path

    @property
    def client(self) -> "redis.Redis":
        """Return a client of the broker."""
        return redis.Redis.from_url(self.valkey.url)

    def enqueue(self, *jobs: Job) -> list[str]:
        """Decide in one transaction that jobs shall run; return their rows."""
        with self.runtime.transaction() as tx:
            for job in jobs:
                tx.enqueue(job)
        return [errand.id for errand in tx.errands]

    def lose(self, *jobs: Job) -> list[str]:
        """Do the same, as if their messages had got lost some seconds ago: soon only the relay can help."""
        before = self.runtime.now() - timedelta(seconds=outbox.FIRST_RELAY_SECONDS - 2)
        with self.runtime.database.connection() as connection:
            return [errand.id for errand in outbox.write(connection, {new_id(): job for job in jobs}, before)]

    def send_last_attempts(self, *jobs: Job, left: int = 1) -> list[str]:
        """Enqueue jobs that have failed before, so that `left` attempts are left; to fail really takes a minute."""
        failed = outbox.MAX_ATTEMPTS - left
        with self.runtime.database.connection() as connection:
            errands = outbox.write(connection, {new_id(): job for job in jobs}, self.runtime.now())
            ids = [errand.id for errand in errands]
            connection.execute(outbox.outbox.update().where(outbox.outbox.c.id.in_(ids)).values(attempts=failed))
        self.runtime.queue.dispatch(errands)
        return ids

    def rows(self, ids: list[str]) -> list[Row]:
        """Return rows of the outbox."""
        with self.runtime.reading() as tx:
            return list(tx.all(outbox.outbox.select().where(outbox.outbox.c.id.in_(ids))))

    def states(self, ids: list[str]) -> set[str]:
        """Return the states that these rows are in."""
        return {row.state for row in self.rows(ids)}

    def are_done(self, ids: list[str], seconds: float) -> float:
        """Wait until all rows are done; return how long that took."""
        return eventually(lambda: self.states(ids) == {"done"}, seconds)

    def counted(self, labels: list[str]) -> int:
        """Return how many of the labels have had their effect."""
        with self.runtime.reading() as tx:
            return len(tx.all(vitals.select().where(vitals.c.name.in_(labels))))

    def start_worker(self, name: str = "worker", **more: str) -> None:
        """Start a worker that knows the tests' jobs, and wait until it works."""
        self.forget_signs()
        self.stack.start_worker(name, app=JOBS_APP, **more)
        eventually(self.worker_is_alive, 30)

    def forget_signs(self) -> None:
        """Let no sign of life of a worker be left. Raises LockTimeout when one is just giving a sign."""
        with self.runtime.transaction() as tx:
            tx.execute(vitals.delete().where(vitals.c.name == WORKER))

    def freeze(self, group: int) -> None:
        """Stop a worker where it holds no lock of the database, or everybody would wait for it in vain."""
        for _ in range(5):
            os.killpg(group, signal.SIGSTOP)
            with suppress(LockTimeout):
                return self.forget_signs()
            os.killpg(group, signal.SIGCONT)
            time.sleep(0.1)
        raise AssertionError("the worker holds a lock whenever it is stopped")

    @contextmanager
    def only(self, name: str, **more: str) -> Iterator[None]:
        """Let a new worker of that name be the only one that takes messages; the first one stands still meanwhile."""
        first = self.stack.processes["worker"].pid
        self.freeze(first)
        try:
            with self.client as client:  # a message may still be given to it until it has stopped to wait for one
                eventually(lambda: client.info("clients")["blocked_clients"] == 0, 10)  # type: ignore[index]
            self.start_worker(name, **more)
            yield
        finally:
            os.killpg(first, signal.SIGCONT)

    def worker_is_alive(self) -> bool:
        """Tell whether a worker has given a sign of life."""
        with self.runtime.reading() as tx:
            return is_alive(tx.connection, WORKER, tx.now)


@pytest.fixture(scope="module")
def ground(settings: Settings, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Database and Valkey; each module starts the processes that it needs."""
    directory = tmp_path_factory.mktemp("ground")
    with (
        own_database(database_url, directory) as url,
        Valkey(directory / "valkey", port=free_port()) as valkey,
    ):
        own = replace(settings, database_url=url, redis_url=valkey.url)
        runtime = build_runtime(own)
        with Stack(own, directory, webs=0, with_workers=False) as stack:
            yield Ground(runtime, valkey, stack, directory)
        runtime.database.dispose()
