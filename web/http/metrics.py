"""`GET /metrics`: all processes of this machine together, when gunicorn runs several (PROMETHEUS_MULTIPROC_DIR), and
what only database and Redis know.
"""

from flask import Blueprint, Flask, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.core.exposition import exposition
from shared.figures import Figures
from shared.runtime import Runtime

blueprint = Blueprint("metrics", __name__)

_NAME = "parley-figures"


def install(app: Flask, runtime: Runtime) -> None:
    """Register the route."""
    figures = CollectorRegistry()
    figures.register(Figures(runtime))
    app.extensions[_NAME] = figures
    app.register_blueprint(blueprint)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return all metrics in Prometheus' text format. Answers within three seconds, whatever is away."""
    text = exposition() + generate_latest(current_app.extensions[_NAME])
    return Response(text, content_type=CONTENT_TYPE_LATEST)
