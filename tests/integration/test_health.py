"""Health tells the truth: each part is broken in turn, in real processes and for a process that never had it."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from dev.http_client import Answer, Api
from dev.process import free_port
from dev.valkey import Valkey
from shared.core.queue import LANES
from shared.core.settings import Settings
from shared.core.vitals import WORKER, WORKER_PROCESS, sign
from shared.runtime import Runtime, build_runtime
from tests.factories.database import own_database
from tests.faults.proxy import Proxy
from tests.stack import Stack

NOTICE_SECONDS = 5.0


@pytest.fixture(scope="module")
def valkey_that_breaks() -> Iterator[Valkey]:
    with Valkey(port=free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def way(database_url: str) -> Iterator[Proxy | None]:
    """The web process's way to PostgreSQL; None on SQLite, to which there is none."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        yield None
        return
    with Proxy(url.port or 5432) as proxy:
        yield proxy


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
def breaking(own: Runtime, way: Proxy | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web process; the tests give it a worker and take it away."""
    directory = tmp_path_factory.mktemp("breaking")
    url = own.database.url if way is None else own.database.url.set(port=way.port)
    settings = replace(own.settings, database_url=url.render_as_string(hide_password=False))
    with Stack(settings, directory, with_workers=False) as stack:
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
        asked = time.monotonic()
        answer = api.get("//readyz")
        if holds(answer):
            return answer
        assert asked < until, answer.body
        time.sleep(0.05)


def stays_alive(api: Api) -> None:
    """/healthz answers as if nothing were. Half of the answers may be slower: others use this machine too."""
    times = []
    for _ in range(9):
        began = time.perf_counter()
        assert api.get("//healthz").status == 200
        times.append(time.perf_counter() - began)
    assert median(times) <= 0.1, times


def names(missing: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 503 and answer.body["message"] == f"Not ready: {missing} does not answer."


def is_ready(answer: Answer) -> bool:
    return answer.status == 200


def test_a_living_process_says_so_and_asks_nobody(breaking: Stack, api: Api) -> None:
    answer = api.get("//healthz")

    assert (answer.status, answer.body["status"], answer.data) == (200, "success", {"alive": True})


def test_without_a_worker_it_is_not_ready_and_names_the_worker(api: Api) -> None:
    answer = wait_for(api, names("worker"))

    ages = answer.body["details"].pop("ages")
    assert ages == {"outbox": 0.0, "beat": None}
    assert answer.body["details"] == {"database": True, "redis": True, "worker": False}
    assert answer.code == "SERVICE_UNAVAILABLE"
    assert int(answer.headers["retry-after"]) >= 1


def test_p28_with_a_worker_it_is_ready_and_a_dead_one_is_noticed(
    breaking: Stack, api: Api, own: Runtime, tmp_path: Path
) -> None:
    port = free_port()
    breaking.start_worker(WORKER_METRICS_PORT=str(port), PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"))
    answer = wait_for(api, is_ready, 30)
    ages = answer.data.pop("ages")
    assert answer.data == {"database": True, "redis": True, "worker": True}
    assert ages["outbox"] == 0.0
    assert 0 <= ages["beat"] < 30

    metrics_of_a_worker_are_those_of_its_children(own, Api(f"http://127.0.0.1:{port}"))
    breaking.kill("worker")
    wait_for(api, names("worker"))
    stays_alive(api)


def metrics_of_a_worker_are_those_of_its_children(own: Runtime, worker: Api) -> None:
    own.celery.send_task("worker.sign_of_life", queue="fast", ignore_result=True)
    until = time.monotonic() + 20
    found: dict[tuple[str, str], float] = {}
    while found.get(("parley_tasks_total", "worker.sign_of_life")) is None:
        assert time.monotonic() < until, found
        time.sleep(0.05)
        page = worker.get("//metrics").body
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        found = {(sample.name, sample.labels.get("task", "")): sample.value for sample in samples}
    assert found["parley_tasks_total", "worker.sign_of_life"] == 1
    assert found["parley_tasks_running", ""] in (0, 1)


def as_if_with_a_worker(own: Runtime) -> None:
    with own.transaction() as tx:
        for name in (WORKER, WORKER_PROCESS):
            sign(tx.connection, name, tx.now + timedelta(minutes=5))


def test_p28_without_redis_it_is_not_ready_names_it_and_is_ready_again_by_itself(
    api: Api, own: Runtime, valkey_that_breaks: Valkey
) -> None:
    as_if_with_a_worker(own)
    wait_for(api, is_ready)
    valkey_that_breaks.stop()
    wait_for(api, names("redis"))
    stays_alive(api)
    valkey_that_breaks.start()
    wait_for(api, is_ready)


@pytest.mark.postgres_only
@pytest.mark.parametrize("breaks", [Proxy.refuse, Proxy.blackhole])
def test_p28_a_database_that_is_gone_or_hangs_is_told_of_and_so_is_that_it_is_back(
    api: Api, own: Runtime, way: Proxy, breaks: Callable[[Proxy], None]
) -> None:
    as_if_with_a_worker(own)
    wait_for(api, is_ready)
    try:
        breaks(way)
        answer = wait_for(api, names("database, worker"))
        assert answer.body["details"] == {"database": False, "redis": True, "worker": False}
        stays_alive(api)
        page = api.get("//metrics").body
        assert "parley_database_up 0.0" in page
        assert "parley_redis_up 1.0" in page
        assert "parley_dead_letters{" not in page
    finally:
        way.heal()
    wait_for(api, is_ready)
    until = time.monotonic() + NOTICE_SECONDS
    while "parley_database_up 1.0" not in api.get("//metrics").body:
        assert time.monotonic() < until
        time.sleep(0.1)


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
    asked = {(path, str(api.get(f"/{path}").status)) for path in ("/healthz", "/readyz")}
    answer = api.get("//metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(answer.body)}
    assert {"parley_requests", "parley_request_seconds", "parley_websocket_connections"} <= found.keys()
    assert all(family.documentation and family.type != "unknown" for family in found.values())
    assert [sample.value for sample in found["parley_database_up"].samples] == [1]
    assert {sample.labels["lane"] for sample in found["parley_dead_letters"].samples} == set(LANES)
    served = {
        (sample.labels["route"], sample.labels["status"])
        for sample in found["parley_requests"].samples
        if sample.name == "parley_requests_total" and sample.value >= 1
    }
    assert asked | {("unknown", "404")} <= served


@pytest.mark.parametrize("path", ["//healthz", "//readyz", "//metrics"])
def test_health_needs_no_credential_and_takes_no_other_method(api: Api, path: str) -> None:
    assert api.get(path).status in (200, 503)
    refused = api.post(path, {})
    assert (refused.status, refused.code) == (405, "METHOD_NOT_ALLOWED")
