"""The Celery application of worker and beat: tasks by name, one runtime per process."""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_shutdown, worker_ready
from prometheus_client.multiprocess import mark_process_dead

import workers.expiry
import workers.jobs
import workers.livekit
import workers.meetings
import workers.outbox
import workers.participants
import workers.retention
import workers.webhooks  # noqa: F401  registers the tasks
from shared.core import tracing
from shared.core.logging import bind_contextvars, clear_contextvars
from shared.core.metrics import TASKS_RUNNING
from shared.core.queue import make_celery
from shared.core.settings import Settings
from shared.core.vitals import WORKER, sign
from shared.runtime import Runtime, build_runtime
from workers import beat, beside
from workers.task import JOB_TASKS, PERIODIC_TASKS, run_job, run_periodic

BEAT_LOCK_SECONDS = 10


class Runtimes:
    """Gives each process its own runtime, made when first asked for: connections must not be shared by a fork."""

    def __init__(self, build: Callable[[], Runtime]) -> None:
        self._build = build
        self._pid = 0
        self._runtime: Runtime | None = None
        self._lock = threading.Lock()  # the lane of webhooks is worked on by threads

    def get(self) -> Runtime:
        """Return this process's runtime."""
        with self._lock:
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
    runtimes = Runtimes(lambda: _build(settings))
    for name in JOB_TASKS:
        _register(app, name, partial(_work_on_job, runtimes))
    for name in PERIODIC_TASKS:
        _register(app, name, partial(_work_on_periodic, runtimes))
    worker_init.connect(partial(_bring_along, settings), weak=False)
    worker_ready.connect(partial(_sign_in, runtimes), weak=False)
    worker_process_shutdown.connect(_take_gauges_along, weak=False)
    app.steps["worker"].add(beside.step(settings, runtimes.get))
    return app


def _build(settings: Settings) -> Runtime:
    tracing.begin(settings, "parley-worker")
    return build_runtime(settings)


def _register(app: Celery, name: str, work: Callable[..., str]) -> None:
    def task(self: Any, *arguments: str) -> str:
        clear_contextvars()
        bind_contextvars(task_id=self.request.id, task=self.name)
        with TASKS_RUNNING.track_inprogress():
            return work(self, *arguments)

    app.task(task, name=name, bind=True, shared=False)  # this application's alone, not every Celery's of the process


def _work_on_job(runtimes: Runtimes, task: Any, row_id: str) -> str:
    # Set by kombu wherever it puts a message back: its worker was killed or stopped, or held it for too long.
    redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
    return run_job(runtimes.get(), task.name, row_id, redelivered=redelivered)


def _work_on_periodic(runtimes: Runtimes, task: Any) -> str:
    return run_periodic(runtimes.get(), task.name)


def _bring_along(settings: Settings, **_: Any) -> None:
    """Import LiveKit's client before the pool is forked: it takes most of a second, by which the first to be put out
    after a start would stay longer in the media room (promises P7)."""
    if settings.has_livekit:
        import livekit.api  # noqa: F401


def _sign_in(runtimes: Runtimes, **_: Any) -> None:
    """Let /readyz know at once; the later signs come through beat."""
    with runtimes.get().transaction() as tx:
        sign(tx.connection, WORKER, tx.now)


def _take_gauges_along(pid: int, **_: Any) -> None:
    """Have the gauges of a child end with it; those of one that is killed are found by whoever reads them."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
