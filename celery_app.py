"""Worker and beat: settings -> runtime -> Celery. `celery -A celery_app worker`, `celery -A celery_app beat`."""

import sys
from pathlib import Path

# `celery` as a console script does not put the working directory on the path (celery issue 3150).
sys.path.insert(0, str(Path(__file__).parent))

from shared.core import logging, settings
from workers.app import configure

_settings = settings.load(Path(__file__).parent)
logging.configure(_settings.log_level, "beat" if "beat" in sys.argv else "worker")
app = configure(_settings)
