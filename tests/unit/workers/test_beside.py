"""What the main process of a worker does beside the work."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from sqlalchemy import select

from dev.process import free_port
from shared.core.database import Database
from shared.core.settings import Settings
from shared.core.vitals import WORKER_PROCESS, vitals
from shared.runtime import Runtime
from tests.fakes.clock import FakeClock
from workers import beside
from workers.beside import SignsOfLife, serve_metrics, step


def wait_for(check: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not check():
        assert time.monotonic() < until
        time.sleep(0.01)


def signed_at(runtime: Runtime) -> datetime | None:
    with runtime.reading() as tx:
        seen: datetime | None = tx.scalar(select(vitals.c.seen_at).where(vitals.c.name == WORKER_PROCESS))
    return seen


def signing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "signs-of-life"]


def start(runtime: Runtime, *lanes: str) -> Callable[[], None]:
    """Start the step as a worker of some lanes does; return what stops it."""
    queues = SimpleNamespace(consume_from=dict.fromkeys(lanes))
    worker = SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)))
    begun = step(runtime.settings, lambda: runtime)(worker)
    begun.start(worker)
    return lambda: begun.stop(worker)


def test_a_worker_of_the_lane_fast_signs_again_and_again_until_it_stops(
    bench: Runtime, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "SIGN_SECONDS", 0.02)
    stop = start(bench, "default", "fast")
    try:
        wait_for(lambda: signed_at(bench) == bench.now())
        clock.pass_(seconds=5)
        wait_for(lambda: signed_at(bench) == bench.now())
    finally:
        stop()
    wait_for(lambda: not signing())


def test_a_worker_of_other_lanes_only_is_not_what_is_asked_for(bench: Runtime) -> None:
    stop = start(bench, "webhooks")

    assert signing() == []
    stop()


@pytest.mark.once
def test_it_goes_on_when_the_database_is_away(
    bench: Runtime, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "SIGN_SECONDS", 0.02)
    nowhere = Database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none")
    signs = SignsOfLife(replace(bench, database=nowhere))
    signs.start()
    wait_for(lambda: [record.message for record in caplog.records].count("sign_of_life_failed") >= 2)
    signs.stop()
    wait_for(lambda: not signing())
    nowhere.dispose()


@pytest.mark.once
def test_metrics_are_served_where_the_settings_say_and_no_longer_than_the_worker_runs() -> None:
    settings = Settings(env="test", worker_metrics_port=free_port())
    end = serve_metrics(settings)
    try:
        with urlopen(f"http://127.0.0.1:{settings.worker_metrics_port}/metrics") as page:
            assert b"# TYPE parley_tasks_running gauge" in page.read()
    finally:
        end()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", settings.worker_metrics_port), 1)


@pytest.mark.once
def test_without_a_port_nothing_is_served_and_a_port_that_is_taken_stops_no_worker(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(beside, "start_http_server", None)
        serve_metrics(Settings(env="test"))()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        serve_metrics(Settings(env="test", worker_metrics_port=taken.getsockname()[1]))()
    assert [(record.message, record.levelno) for record in caplog.records] == [("metrics_not_served", logging.ERROR)]
