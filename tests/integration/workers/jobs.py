"""Jobs that only tests send. `jobs_app` is the worker that knows how to do them."""

from dataclasses import dataclass
from typing import ClassVar

from shared.core.messages import JOBS, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(Job):
    """In a transaction: leave a sign under `label`; a second one is an error."""

    name: ClassVar[str] = "test.count"
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Job):
    """Outside: write `began PID` into a file, work for some seconds at the first attempt, write `ended PID`."""

    name: ClassVar[str] = "test.work"
    file: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison(Job):
    """Raise, or (`kills`) take the worker along."""

    name: ClassVar[str] = "test.poison"
    kills: bool


for _job in (Count, Work, Poison):
    del JOBS[_job.name]  # others count the product's jobs
