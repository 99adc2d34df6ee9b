"""Beside the work: the main process of a worker signs that it is there, and serves the metrics of all its processes."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.bootsteps import StartStopStep
from prometheus_client import start_http_server
from sqlalchemy.exc import SQLAlchemyError

from shared.core.database import TransactionConflict
from shared.core.errors import DomainError
from shared.core.exposition import registry
from shared.core.settings import Settings
from shared.core.vitals import WORKER_PROCESS, sign
from shared.runtime import Runtime

log = logging.getLogger(__name__)

SIGN_SECONDS = 1.0
LANE = "fast"  # whose workers sign: without them nobody sweeps, relays or ends


class SignsOfLife:
    """Signs every second, in a thread of its own and over a connection of its own: neither tasks nor requests, nor a
    broker that is away, hold it up.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signs-of-life", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Sign no more."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            try:
                with self._runtime.database.reserve().connection() as connection:
                    sign(connection, WORKER_PROCESS, self._runtime.now())
            except (DomainError, TransactionConflict, SQLAlchemyError) as broken:
                log.warning("sign_of_life_failed", extra={"error": str(broken)})
            except Exception:  # a bug; a worker that works and does not sign would count as gone
                log.exception("sign_of_life_failed")
            if self._stopping.wait(SIGN_SECONDS):
                return


def serve_metrics(settings: Settings) -> Callable[[], None]:
    """Serve the metrics where the settings say; return what ends that. A port that is taken stops no worker."""
    if not settings.worker_metrics_port:
        return lambda: None
    try:
        server, _ = start_http_server(settings.worker_metrics_port, settings.worker_metrics_host, registry())
    except OSError as taken:
        log.error("metrics_not_served", extra={"port": settings.worker_metrics_port, "error": str(taken)})
        return lambda: None

    def end() -> None:
        server.shutdown()
        server.server_close()

    return end


def step(settings: Settings, runtime: Callable[[], Runtime]) -> type[StartStopStep]:
    """Return the step of a worker's start that does both, once its pool is there."""

    class Beside(StartStopStep):
        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **_: Any) -> None:
            self._end: list[Callable[[], None]] = []

        def start(self, worker: Any) -> None:
            """Begin both."""
            self._end.append(serve_metrics(settings))
            if LANE in worker.app.amqp.queues.consume_from:
                signs = SignsOfLife(runtime())
                signs.start()
                self._end.append(signs.stop)

        def stop(self, worker: Any) -> None:
            """End both."""
            while self._end:
                self._end.pop()()

        terminate = stop

    return Beside
