"""The web process: settings -> runtime -> application. `gunicorn wsgi:app`, `flask --app wsgi run`."""

from pathlib import Path

from shared.core import logging, settings, tracing
from shared.runtime import build_runtime
from web.app import create_app

_settings = settings.load(Path(__file__).parent)
logging.configure(_settings.log_level, "web")
tracing.begin(_settings, "parley-web")
app = create_app(build_runtime(_settings))
