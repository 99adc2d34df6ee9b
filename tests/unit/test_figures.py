"""What only database and Redis know is asked for when somebody scrapes, and left out when they do not answer."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry

from dev.process import free_port
from dev.valkey import Valkey
from shared import figures
from shared.core import outbox
from shared.core.database import Database
from shared.core.ids import new_id
from shared.core.queue import LANES
from shared.core.vitals import WORKER, sign
from shared.figures import Figures
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from shared.webhooks.models import endpoints
from tests.factories.database import on_own_database
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock

MINUTE = timedelta(minutes=1)


@pytest.fixture
def own(runtime: Runtime, clock: FakeClock, tmp_path: Path) -> Iterator[Runtime]:
    with on_own_database(replace(runtime, clock=clock), tmp_path) as moved:
        yield moved


def scrape(runtime: Runtime) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the figures: by name, and by the values of their labels."""
    registry = CollectorRegistry()
    registry.register(Figures(runtime))
    return {
        metric.name: {tuple(sample.labels.values()): sample.value for sample in metric.samples}
        for metric in registry.collect()
    }


def add_endpoint(runtime: Runtime, **changes: object) -> None:
    with runtime.transaction() as tx:
        base = {"id": new_id(), "url": "https://example.com", "events": [], "is_enabled": True, "secret": "none"}
        failing = {"failures": 5, "failing_since": tx.now, "open_until": tx.now + MINUTE, "created_at": tx.now}
        tx.execute(endpoints.insert().values({**base, **failing, **changes}))


def test_an_empty_installation_says_so_for_every_lane(own: Runtime) -> None:
    found = scrape(own)

    assert (found["parley_database_up"], found["parley_redis_up"]) == ({(): 1}, {(): 1})
    assert found["parley_outbox_rows"] == {(lane, state): 0 for lane in LANES for state in ("pending", "running")}
    none = dict.fromkeys([(lane,) for lane in LANES], 0)
    assert (found["parley_outbox_oldest_seconds"], found["parley_dead_letters"]) == (none, none)
    assert found["parley_queue_messages"].keys() == none.keys()
    assert found["parley_worker_silence_seconds"] == {(): math.inf}
    assert found["parley_webhook_circuits_open"] == {(): 0}


def test_the_figures_are_what_the_database_says(own: Runtime, clock: FakeClock) -> None:
    with own.transaction() as tx:
        sign(tx.connection, WORKER, tx.now)
        first, second, _ = outbox.write(tx.connection, {new_id(): DeleteRoom(room=str(n)) for n in range(3)}, tx.now)
        outbox.claim(tx.connection, first.id, first.name, tx.now)
        dead = outbox.outbox.update().where(outbox.outbox.c.id == second.id)
        tx.execute(dead.values(state="dead", finished_at=tx.now))
    clock.pass_(seconds=90)
    owner = Scene(own).user().user_id
    add_endpoint(own, user_id=owner)
    add_endpoint(own, user_id=owner, open_until=own.now())
    add_endpoint(own, user_id=owner, is_enabled=False)

    found = scrape(own)

    rows = found["parley_outbox_rows"]
    assert (rows["media", "pending"], rows["media", "running"], rows["fast", "pending"]) == (1, 1, 0)
    assert found["parley_dead_letters"]["media",] == 1
    assert found["parley_outbox_oldest_seconds"]["media",] == 90
    assert found["parley_worker_silence_seconds"] == {(): 90}
    assert found["parley_webhook_circuits_open"] == {(): 1}


@pytest.mark.once
def test_what_waits_in_the_broker_is_counted_by_lane(own: Runtime) -> None:
    with Valkey() as broker, redis.Redis.from_url(broker.url) as client:
        client.rpush("media", "a", "b")
        found = scrape(replace(own, settings=replace(own.settings, redis_url=broker.url)))

    assert found["parley_queue_messages"] == {**dict.fromkeys([(lane,) for lane in LANES], 0), ("media",): 2}


@pytest.mark.once
def test_a_part_that_is_away_is_said_to_be_and_the_others_are_told(own: Runtime) -> None:
    nobody = free_port()
    no_redis = scrape(replace(own, settings=replace(own.settings, redis_url=f"redis://127.0.0.1:{nobody}/0")))
    assert (no_redis["parley_database_up"], no_redis["parley_redis_up"]) == ({(): 1}, {(): 0})
    assert "parley_queue_messages" not in no_redis
    assert "parley_dead_letters" in no_redis

    nowhere = Database(f"postgresql+psycopg://nobody@127.0.0.1:{nobody}/none")
    no_database = scrape(replace(own, database=nowhere))
    assert (no_database["parley_database_up"], no_database["parley_redis_up"]) == ({(): 0}, {(): 1})
    assert no_database.keys() == {"parley_database_up", "parley_redis_up", "parley_queue_messages"}
    nowhere.dispose()


@pytest.mark.once
def test_a_database_that_hangs_holds_nobody_up(own: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(Figures, "_ask_database", lambda _: go_on.wait(30))
    monkeypatch.setattr(figures, "PATIENCE_SECONDS", 0.2)

    began = time.monotonic()
    found = scrape(own)

    assert time.monotonic() - began < 5
    assert found["parley_database_up"] == {(): 0}
    go_on.set()


@pytest.mark.once
def test_however_often_it_is_scraped_it_asks_every_two_seconds_at_most(
    own: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 100.0, 101.9, 102.1, 102.1])
    asked: list[Figures] = []

    def ask(self: Figures) -> dict[str, int]:
        asked.append(self)
        return {}

    monkeypatch.setattr(Figures, "_ask_redis", ask)
    collector = Figures(own)
    monkeypatch.setattr(figures, "monotonic", lambda: next(now))

    counts = []
    for _ in range(3):
        assert list(collector.collect())
        counts.append(len(asked))

    assert counts == [1, 1, 2]
