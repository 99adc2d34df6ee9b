"""Going away (P11): what SIGTERM does to the sockets of a process."""

import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from shared.core.errors import ServiceUnavailable
from shared.realtime import presence
from shared.runtime import Runtime
from tests.unit.web.realtime.wire import Peer, wait_for
from web.http.refusals import Refusals
from web.realtime import drain as module
from web.realtime.drain import drain, install
from web.realtime.gateway import Realtime


@pytest.fixture
def engine(runtime: Runtime) -> Realtime:
    """A realtime engine that entered its process, and runs no threads."""
    made = Realtime(runtime, Refusals(runtime))
    made.attendance.enter()
    return made


def serve(engine: Realtime, peer: Peer) -> threading.Thread:
    """Read a connection until it is over, as the gateway does."""
    engine.hub.add(peer.connection)

    def run() -> None:
        while peer.connection.receive(100):
            pass
        engine.hub.remove(peer.connection)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def lease_until(engine: Realtime) -> Any:
    """Return until when the process counts as alive."""
    with engine.runtime.reading() as tx:
        of = presence.processes
        return tx.scalar(select(of.c.lease_until).where(of.c.id == engine.attendance.process_id))


def test_m20_everybody_is_told_1012_who_does_not_hang_up_is_cut_off_and_the_process_signs_off(
    engine: Realtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.4)
    with Peer() as polite, Peer() as deaf:
        threads = [serve(engine, polite), serve(engine, deaf)]

        def hang_up() -> None:
            while polite.close_code is None:
                polite.read(0.02)
            polite.socket.shutdown(1)

        leaving = threading.Thread(target=hang_up)
        leaving.start()
        began = time.monotonic()
        assert drain(engine) == 2
        assert time.monotonic() - began < 2
        for thread in [*threads, leaving]:
            thread.join(2)
            assert not thread.is_alive()
        deaf.read()
        assert (polite.close_code, deaf.close_code, deaf.is_cut) == (1012, 1012, True)
        assert lease_until(engine) <= engine.runtime.now()
        assert not engine.hub.add(deaf.connection)


def test_a_process_without_sockets_drains_at_once(engine: Realtime) -> None:
    began = time.monotonic()
    assert drain(engine) == 0
    assert time.monotonic() - began < 1


def test_a_database_that_is_away_does_not_hold_up_the_end(engine: Realtime, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lease_until(engine)

    def away(*_: Any, **__: Any) -> None:
        raise ServiceUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "transaction", away)
        assert drain(engine) == 0
    assert lease_until(engine) == before


@pytest.mark.parametrize("has_handler", [True, False])
def test_the_signal_drains_and_then_does_what_it_did_before(
    engine: Realtime, monkeypatch: pytest.MonkeyPatch, has_handler: bool
) -> None:
    got: list[int] = []
    handlers: dict[int, Any] = {signal.SIGTERM: (lambda n, _: got.append(n)) if has_handler else signal.SIG_DFL}
    monkeypatch.setattr(signal, "getsignal", handlers.get)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    install(SimpleNamespace(wsgi=SimpleNamespace(extensions={"parley-realtime": engine})))
    assert not engine.hub.is_draining
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    wait_for(lambda: engine.hub.is_draining and lease_until(engine) <= engine.runtime.now())
    assert got == ([signal.SIGTERM] if has_handler else [])
