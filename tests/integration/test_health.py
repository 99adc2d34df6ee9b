"""Health tells the truth: each part is broken in turn, in real processes and for a process that never had it."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dev.http_client import Answer, Api
from dev.process import free_port
from dev.valkey import Valkey
from shared.core.settings import Settings
from shared.core.vitals import FRESH, WORKER, vitals
from shared.runtime import Runtime, build_runtime
from tests.factories.database import own_database
from tests.stack import Stack

NOTICE_SECONDS = 5.0


@pytest.fixture(scope="module")
def valkey_that_breaks() -> Iterator[Valkey]:
    with Valkey(port=free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def own(
    settings: Settings, database_url: str, valkey_that_breaks: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    """The runtime on a database and a Valkey of this module."""
    with own_database(database_url, tmp_path_factory.mktemp("own")) as url:
        runtime = build_runtime(replace(settings, database_url=url, redis_url=valkey_that_breaks.url))
        yield runtime
        runtime.database.dispose()


@pytest.fixture(scope="module")
def breaking(own: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web process; the tests give it a worker and take it away."""
    directory = tmp_path_factory.mktemp("breaking")
    with Stack(own.settings, directory, with_workers=False) as stack:
        yield stack


@pytest.fixture
def api(breaking: Stack) -> Api:
    return Api(breaking.url)


def wait_for(api: Api, holds: Callable[[Answer], bool], seconds: float = NOTICE_SECONDS) -> Answer:
    """Ask until the answer is right; /healthz must be fast all the while."""
    until = time.monotonic() + seconds
    while True:
        began = time.perf_counter()
        assert api.get("//healthz").status == 200
        assert time.perf_counter() - began < 0.5
        answer = api.get("//readyz")
        if holds(answer):
            return answer
        assert time.monotonic() < until, answer.body
        time.sleep(0.05)


def names(missing: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 503 and answer.body["message"] == f"Not ready: {missing} does not answer."


def is_ready(answer: Answer) -> bool:
    return answer.status == 200


def test_a_living_process_says_so_and_asks_nobody(breaking: Stack, api: Api) -> None:
    answer = api.get("//healthz")

    assert (answer.status, answer.body["status"], answer.data) == (200, "success", {"alive": True})


def test_without_a_worker_it_is_not_ready_and_names_the_worker(api: Api) -> None:
    answer = wait_for(api, names("worker"))

    assert answer.body["details"] == {"database": True, "redis": True, "worker": False}
    assert answer.code == "SERVICE_UNAVAILABLE"
    assert int(answer.headers["retry-after"]) >= 1


def test_with_a_worker_it_is_ready_and_a_dead_one_is_noticed(breaking: Stack, api: Api, own: Runtime) -> None:
    breaking.start_worker()
    answer = wait_for(api, is_ready, 30)
    assert answer.data == {"database": True, "redis": True, "worker": True}

    breaking.kill("worker")
    with own.transaction() as tx:  # instead of waiting until the last sign of life is too old
        tx.execute(vitals.update().where(vitals.c.name == WORKER).values(seen_at=tx.now - FRESH - timedelta(seconds=1)))
    wait_for(api, names("worker"))


def test_without_redis_it_is_not_ready_names_it_and_is_ready_again_by_itself(
    api: Api, own: Runtime, valkey_that_breaks: Valkey
) -> None:
    with own.transaction() as tx:
        tx.execute(vitals.update().values(seen_at=tx.now + timedelta(minutes=5)))
    wait_for(api, is_ready)
    valkey_that_breaks.stop()
    wait_for(api, names("redis"))
    valkey_that_breaks.start()
    wait_for(api, is_ready)


@pytest.mark.once
def test_without_a_database_it_is_not_ready_names_it_and_stays_alive(
    own: Runtime, tmp_path: Path, valkey_that_breaks: Valkey
) -> None:
    nowhere = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    with Stack(replace(own.settings, database_url=nowhere), tmp_path, with_workers=False) as stack:
        api = Api(stack.url)
        answer = wait_for(api, names("database, worker"))

        assert answer.body["details"] == {"database": False, "redis": True, "worker": False}
        assert api.get("//healthz").status == 200


def test_metrics_can_be_parsed_and_count_what_was_done(api: Api) -> None:
    with suppress(OSError):
        api.get("/nothing-is-here")
    answer = api.get("//metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(answer.body)}
    assert {"parley_requests", "parley_request_seconds", "parley_websocket_connections"} <= found.keys()
    assert all(family.documentation and family.type != "unknown" for family in found.values())
    served = {
        (sample.labels["route"], sample.labels["status"])
        for sample in found["parley_requests"].samples
        if sample.name == "parley_requests_total" and sample.value >= 1
    }
    assert {("/healthz", "200"), ("/readyz", "503"), ("unknown", "404")} <= served


@pytest.mark.parametrize("path", ["//healthz", "//readyz", "//metrics"])
def test_health_needs_no_credential_and_takes_no_other_method(api: Api, path: str) -> None:
    assert api.get(path).status in (200, 503)
    refused = api.post(path, {})
    assert (refused.status, refused.code) == (405, "METHOD_NOT_ALLOWED")
