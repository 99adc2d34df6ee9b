"""The Celery application: every job and periodic task has its name there, and runs on this process's own runtime."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery.signals import worker_ready
from sqlalchemy import select
from structlog.contextvars import get_contextvars

from shared.core import outbox
from shared.core.logging import bind_contextvars
from shared.core.messages import JOBS
from shared.core.settings import Settings
from shared.core.vitals import WORKER, vitals
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from tests.stack import environment
from workers.app import Runtimes, configure
from workers.task import JOB_TASKS, PERIODIC_TASKS


@pytest.fixture
def app(bench: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """The application as a worker has it, on this module's database; it connects to no broker."""
    monkeypatch.setattr("workers.app.build_runtime", lambda _settings: bench)
    monkeypatch.setattr(worker_ready, "receivers", [])
    return configure(settings)


def test_every_job_and_every_periodic_task_is_a_task_under_its_name(app) -> None:
    ours = {name for name in app.tasks if not name.startswith("celery.")}

    assert ours == JOB_TASKS.keys() | PERIODIC_TASKS.keys()
    assert JOB_TASKS.keys() == JOBS.keys()
    assert app.conf.beat_schedule.keys() == PERIODIC_TASKS.keys()


def test_the_second_beat_takes_over_within_twenty_seconds(app) -> None:
    conf = app.conf

    assert conf.redbeat_lock_timeout + conf.beat_max_loop_interval < 20
    assert conf.redbeat_lock_timeout >= 5 * conf.beat_max_loop_interval  # trap T12i


def test_a_job_task_works_on_the_row_that_its_message_names(
    app, bench: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms: list[str] = []
    monkeypatch.setattr("shared.livekit.client.delete_room", lambda _settings, room: rooms.append(room))
    with bench.transaction() as tx:
        tx.enqueue(DeleteRoom(room="the room"))

    assert app.tasks["livekit.delete_room"].apply(args=[tx.errands[0].id]).get() == "done"
    assert rooms == ["the room"]
    with bench.reading() as tx2:
        assert tx2.scalar(select(outbox.outbox.c.state).where(outbox.outbox.c.id == tx.errands[0].id)) == "done"


def test_a_periodic_task_runs(app) -> None:
    assert app.tasks["worker.sign_of_life"].apply().get() == "done"


def test_log_lines_of_a_task_carry_its_name_and_id_and_nothing_of_the_task_before(
    app, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict] = []

    def look(*_: object) -> str:
        seen.append(get_contextvars())
        return "done"

    monkeypatch.setattr("workers.app.run_periodic", look)
    bind_contextvars(meeting_id="of the task before")
    app.tasks["worker.sign_of_life"].apply(task_id="t1")

    assert seen == [{"task_id": "t1", "task": "worker.sign_of_life"}]


def test_a_worker_signs_as_soon_as_it_is_ready(app, bench: Runtime) -> None:
    with bench.transaction() as tx:
        tx.execute(vitals.delete())
    worker_ready.send(sender="a test")

    with bench.reading() as tx:
        assert tx.scalar(select(vitals.c.seen_at).where(vitals.c.name == WORKER)) == bench.now()


@pytest.mark.once
def test_p7_a_worker_has_livekits_client_before_its_pool_is_forked_and_beat_does_without(
    settings: Settings, project: Path
) -> None:
    program = (
        "import sys, celery_app; from celery.signals import worker_init; has = lambda: 'livekit.api' in sys.modules; "
        "before = has(); worker_init.send(sender=None); print(before, has())"
    )
    for own, expected in (
        (settings, "False True"),
        (replace(settings, livekit_url="", livekit_api_key="", livekit_api_secret=""), "False False"),
    ):
        command = [sys.executable, "-c", program]
        ended = subprocess.run(
            command, cwd=project, env=environment(own), capture_output=True, text=True, check=True, timeout=30
        )
        assert ended.stdout.strip() == expected


@pytest.mark.once
def test_a_process_builds_its_runtime_once_and_a_fork_builds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    builds: Iterator[Any] = iter(["the parent's", "the child's"])
    runtimes = Runtimes(lambda: next(builds))

    assert [str(runtimes.get()), str(runtimes.get())] == ["the parent's", "the parent's"]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert [str(runtimes.get()), str(runtimes.get())] == ["the child's", "the child's"]
