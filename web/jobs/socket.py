"""What is told about jobs."""

from shared.jobs.events import JobAdvanced
from web.jobs.schemas import JobView
from web.realtime.announcements import announces

announces(JobView(), JobAdvanced)
