"""celery_app, with the jobs of the tests: `celery -A tests.integration.workers.jobs_app worker`."""

import os
import signal
import time
from pathlib import Path

from shared.core import outbox
from shared.core.transaction import Transaction
from shared.core.vitals import vitals
from shared.runtime import Runtime
from tests.integration.workers.jobs import Count, Poison, Work
from workers.task import in_transaction, outside

outbox.LEASE_SECONDS = int(os.environ.get("TEST_LEASE_SECONDS", outbox.LEASE_SECONDS))


@in_transaction(Count)
def count(tx: Transaction, job: Count) -> None:
    """Leave a sign; a second one under the same label is refused by the database."""
    tx.execute(vitals.insert().values(name=job.label, seen_at=tx.now))


@outside(Work)
def work(_runtime: Runtime, job: Work) -> None:
    """Say when it begins and ends."""
    is_first = not Path(job.file).exists()
    _write(job, "began")
    time.sleep(job.seconds if is_first else 0.0)
    _write(job, "ended")


def _write(job: Work, what: str) -> None:
    with Path(job.file).open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


@outside(Poison)
def poison(_runtime: Runtime, job: Poison) -> None:
    """Break."""
    if job.kills:
        # A process that dies before Celery has read that it began is forgotten: the job is given to another one, which
        # is not told that it was given out before, and leaves it alone until the lease of the first is over (95 s).
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("poison")


from celery_app import app  # noqa: E402  it registers what is known by now

app.conf.worker_soft_shutdown_timeout = float(
    os.environ.get("TEST_SHUTDOWN_SECONDS", app.conf.worker_soft_shutdown_timeout)
)

__all__ = ["app"]
