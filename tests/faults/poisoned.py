"""The worker's application, with jobs that misbehave: `celery -A tests.faults.poisoned worker`.

PARLEY_FAULTS_TASK_SECONDS shortens the time a task may run, and the lease of its row with it.
"""

import importlib
import os

import tests.faults.poison  # noqa: F401  registers the jobs
from shared.core import outbox

app = importlib.import_module("celery_app").app  # after the jobs are registered

_seconds = os.environ.get("PARLEY_FAULTS_TASK_SECONDS")
if _seconds:
    app.conf.update(task_time_limit=float(_seconds), task_soft_time_limit=float(_seconds) - 1)
    outbox.LEASE_SECONDS = int(float(_seconds)) + 5
