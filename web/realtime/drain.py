"""Going away without losing anybody: SIGTERM closes every socket with 1012, and clients resume elsewhere (P11)."""

import logging
import signal
import threading
import time
from typing import Any

from shared.core.errors import ServiceUnavailable
from shared.realtime import presence
from web.realtime.gateway import Realtime

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0


def install(worker: Any) -> None:
    """Let a gunicorn worker drain its sockets when it is told to stop. Called from gunicorn's post_worker_init."""
    engine: Realtime = worker.wsgi.extensions["parley-realtime"]
    stop = signal.getsignal(signal.SIGTERM)
    asked = threading.Event()

    def on_term(number: int, frame: Any) -> None:
        asked.set()  # no more than that: under gevent a signal handler must not wait, not even to start a thread
        if callable(stop):
            stop(number, frame)

    threading.Thread(target=_drain_when, args=(asked, engine), name="drain", daemon=True).start()
    signal.signal(signal.SIGTERM, on_term)


def _drain_when(asked: threading.Event, engine: Realtime) -> None:
    asked.wait()
    drain(engine)


def drain(engine: Realtime) -> int:
    """Tell every socket to come back elsewhere, end those that do not answer, sign the process off.

    Returns how many there were.
    """
    leaving = engine.hub.drain()
    log.info("draining", extra={"connections": len(leaving)})
    deadline = time.monotonic() + GRACE_SECONDS
    while engine.hub.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    for connection in engine.hub.everyone():
        connection.abort()
    _sign_off(engine)
    return len(leaving)


def _sign_off(engine: Realtime) -> None:
    """End the lease now, so that beat need not wait for it; its sweep counts the grace from here."""
    try:
        with engine.runtime.transaction() as tx:
            presence.resign(tx.connection, engine.attendance.process_id, tx.now)
    except ServiceUnavailable:
        log.warning("process_not_signed_off")
