"""Python's collector of reference cycles, kept from stopping a process that serves.

A full collection looks at every object of the process, 80 for each open socket: 0.4 s with 5000 of them, and nobody
gets anything meanwhile. Left alone it came every few seconds under load. So what a process has once it is set up is
never looked at again, what is young is collected as ever, and full collections are made here, rarely. A socket that
closes leaves next to no cycles; what waits for a full collection is the debris of errors.
"""

import gc
import threading
import time
from typing import Any

from web.realtime.gateway import Realtime

YOUNG_OBJECTS = 2000  # a collection among them takes about a millisecond
YOUNG_COLLECTIONS = 10
NEVER = 2_000_000_000
FEW_SOCKETS = 500  # with these a full collection takes less than 50 ms
BUSY_SECONDS = 600.0
QUIET_SECONDS = 60.0


def install(worker: Any) -> None:
    """Take the collector over in a gunicorn worker. Called from gunicorn's post_worker_init."""
    engine: Realtime = worker.wsgi.extensions["parley-realtime"]
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, NEVER)
    threading.Thread(target=_collect, args=(engine,), name="garbage", daemon=True).start()


def _collect(engine: Realtime) -> None:
    collected = time.monotonic()
    while True:
        time.sleep(QUIET_SECONDS)
        if is_due(time.monotonic() - collected, len(engine.hub.connections)):
            gc.collect()
            collected = time.monotonic()


def is_due(seconds: float, sockets: int) -> bool:
    """Tell whether it is time for a full collection, so many seconds after the last one."""
    return sockets <= FEW_SOCKETS or seconds >= BUSY_SECONDS
