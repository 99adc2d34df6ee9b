"""The worker's application, with jobs that misbehave: `celery -A tests.faults.poisoned worker`.

PARLEY_FAULTS_TASK_SECONDS shortens the time a task may run, and the lease of its row with it. All times of webhooks are
a tenth of what they are: an outage of a minute is one of ten.
"""

import importlib
import os

import tests.faults.poison  # noqa: F401  registers the jobs
from shared.core import outbox
from shared.webhooks import delivering, outcomes, sending
from workers import webhooks

WEBHOOK_SPEED = 10

outcomes.FIRST_DELAY_SECONDS /= WEBHOOK_SPEED
outcomes.LONGEST_DELAY_SECONDS /= WEBHOOK_SPEED
outcomes.TRIED_FOR /= WEBHOOK_SPEED
delivering.TURN_SECONDS /= WEBHOOK_SPEED
webhooks.SEND_SECONDS /= WEBHOOK_SPEED
sending.SECONDS /= WEBHOOK_SPEED

app = importlib.import_module("celery_app").app  # after the jobs are registered

_seconds = os.environ.get("PARLEY_FAULTS_TASK_SECONDS")
if _seconds:
    app.conf.update(task_time_limit=float(_seconds), task_soft_time_limit=float(_seconds) - 1)
    outbox.LEASE_SECONDS = int(float(_seconds)) + 5
