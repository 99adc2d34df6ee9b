"""The Celery application of worker and beat: tasks by name, one runtime per process."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from celery.worker.request import Request

import workers.expiry
import workers.livekit
import workers.meetings
import workers.outbox
import workers.participants  # noqa: F401  registers the tasks
from shared.core.logging import bind_contextvars, clear_contextvars
from shared.core.queue import make_celery
from shared.core.settings import Settings
from shared.core.vitals import WORKER, sign
from shared.runtime import Runtime, build_runtime
from workers import beat
from workers.task import JOB_TASKS, PERIODIC_TASKS, run_job, run_periodic

BEAT_LOCK_SECONDS = 10


class Runtimes:
    """Gives each process its own runtime, made when first asked for: connections must not be shared by a fork."""

    def __init__(self, build: Callable[[], Runtime]) -> None:
        self._build = build
        self._pid = 0
        self._runtime: Runtime | None = None

    def get(self) -> Runtime:
        """Return this process's runtime."""
        if self._runtime is None or self._pid != os.getpid():
            self._runtime, self._pid = self._build(), os.getpid()
        return self._runtime


def configure(settings: Settings) -> Celery:
    """Return the Celery application with every task and the schedule."""
    app = make_celery(settings.redis_url)
    app.conf.update(
        beat_schedule=beat.schedule(),
        # Small, so that a second beat takes over soon; RedBeat (production) keeps its lock five loops long.
        beat_max_loop_interval=2,
        redbeat_redis_url=settings.redis_url,
        redbeat_lock_timeout=BEAT_LOCK_SECONDS,
        redbeat_key_prefix="redbeat:",
    )
    runtimes = Runtimes(lambda: build_runtime(settings))
    for name in JOB_TASKS:
        _register(app, name, _traced(runtimes, partial(_job, name=name)))
    for name in PERIODIC_TASKS:
        _register(app, name, _traced(runtimes, partial(_periodic, name=name)))
    worker_ready.connect(partial(_sign_in, runtimes), weak=False)
    return app


def _job(runtime: Runtime, row_id: str, *, name: str) -> str:
    return run_job(runtime, name, row_id)


def _periodic(runtime: Runtime, *, name: str) -> str:
    return run_periodic(runtime, name)


def _register(app: Celery, name: str, function: Callable[..., str]) -> None:
    app.task(function, name=name, bind=True)


def _traced(runtimes: Runtimes, work: Callable[..., str]) -> Callable[..., str]:
    def task(self: Any, *arguments: str) -> str:
        request: Request = self.request
        clear_contextvars()
        bind_contextvars(task_id=request.id, task=self.name)
        return work(runtimes.get(), *arguments)

    return task


def _sign_in(runtimes: Runtimes, **_: Any) -> None:
    """Let /readyz know at once; the later signs come through beat."""
    with runtimes.get().transaction() as tx:
        sign(tx.connection, WORKER, tx.now)
