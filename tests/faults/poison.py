"""Jobs that misbehave, for the workers of the site. Never imported by a test at the top: importing registers them."""

import os
import time
from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy import text

from shared.core.messages import Job
from shared.core.transaction import Transaction
from shared.runtime import Runtime
from workers.task import in_transaction, outside

EFFECTS = "CREATE TABLE IF NOT EXISTS fault_effects (name text NOT NULL, at timestamptz NOT NULL DEFAULT now())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Job):
    """Take some seconds, then leave one row."""

    name: ClassVar[str] = "faults.work"
    label: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Job):
    """Raise."""

    name: ClassVar[str] = "faults.fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop(Job):
    """Never end."""

    name: ClassVar[str] = "faults.loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Die(Job):
    """Take the process along, as running out of memory does."""

    name: ClassVar[str] = "faults.die"


@in_transaction(Work)
def work(tx: Transaction, job: Work) -> None:
    """Leave one row, in the transaction that marks the job done."""
    time.sleep(job.seconds)
    tx.execute(text("INSERT INTO fault_effects (name) VALUES (:name)"), {"name": job.label})


@outside(Fail)
def fail(runtime: Runtime, job: Fail) -> None:
    """Raise."""
    raise ValueError("poison")


@outside(Loop)
def loop(runtime: Runtime, job: Loop) -> None:
    """Never end, and do not listen to the soft limit either."""
    while True:
        try:
            time.sleep(1)
        except Exception:
            continue


@outside(Die)
def die(runtime: Runtime, job: Die) -> None:
    """End the process at once."""
    os._exit(137)
