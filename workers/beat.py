"""Beat's schedule: every periodic task that exists, and nothing else."""

from datetime import timedelta
from typing import Any

from workers.task import PERIODIC_TASKS


def schedule() -> dict[str, dict[str, Any]]:
    """Return Celery's beat_schedule. A message that nobody took within its period is worth nothing and expires."""
    return {
        task.name: {
            "task": task.name,
            "schedule": timedelta(seconds=task.every_seconds),
            "options": {"queue": task.lane, "expires": max(task.every_seconds, 5.0), "ignore_result": True},
        }
        for task in PERIODIC_TASKS.values()
    }
