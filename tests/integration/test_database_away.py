"""A database that refuses, and one that hangs: refusals in time, never an ack, and healing without a restart."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dev.http_client import Answer, Api
from dev.postgres import Postgres
from dev.process import free_port
from dev.valkey import Valkey
from dev.websocket_client import Socket
from shared.core.settings import Settings
from tests.stack import Stack, migrate

pytestmark = pytest.mark.once  # starts a PostgreSQL of its own, whatever database the other tests stand on

REFUSED_SECONDS = 1.0
HUNG_SECONDS = 10.0
HEALED_SECONDS = 5.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="parley-away-") as directory:
        Path(directory).chmod(0o755)  # the server may run as another user, whom pytest's own folders keep out
        with Postgres(Path(directory, "data"), port=free_port()) as server:
            yield server


@pytest.fixture(scope="module", params=["all", "rest"])
def stack(
    request: pytest.FixtureRequest,
    settings: Settings,
    valkey: Valkey,
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A web process: greenlets for all (gevent), or threads for REST alone (gthread)."""
    url = postgres.create_database(f"parley_{request.param}")
    migrate(url)
    own = replace(settings, database_url=url, redis_url=f"redis://127.0.0.1:{valkey.port}/5")
    with Stack(own, tmp_path_factory.mktemp("stack"), webs=0, with_workers=False) as running:
        running.start_web(PARLEY_ROLE=request.param)
        running.wait_until_up(0)
        yield running


@pytest.fixture
def host(stack: Stack) -> Api:
    return stack.person()


@pytest.fixture
def meeting_id(stack: Stack, host: Api) -> str:
    meeting_id = stack.meeting(host)
    assert host.post(f"/meetings/{meeting_id}/join").status == 200
    return meeting_id


@contextmanager
def refused(postgres: Postgres) -> Iterator[None]:
    """Nobody listens."""
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def hung(postgres: Postgres) -> Iterator[None]:
    """Connections stay open and are taken, but nothing is answered."""
    assert postgres.process is not None
    group = [postgres.process.pid, *children_of(postgres.process.pid)]
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in group:
            os.kill(pid, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def timed(call: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.perf_counter()
    answer = call()
    return answer, time.perf_counter() - began


def check_refusals(api: Api, meeting_id: str, seconds: float) -> None:
    calls: list[Callable[[], Answer]] = [
        lambda: api.get(f"/meetings/{meeting_id}"),
        lambda: api.post(f"/meetings/{meeting_id}/chat", {"content": "lost?", "message_type": "text"}),
    ]
    for call in calls:
        answer, took = timed(call)
        assert (answer.status, answer.code) == (503, "SERVICE_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        assert took < seconds


def wait_until_healed(api: Api, meeting_id: str) -> None:
    until = time.monotonic() + HEALED_SECONDS
    while api.get(f"/meetings/{meeting_id}").status != 200:
        assert time.monotonic() < until
        time.sleep(0.1)


def texts(api: Api, meeting_id: str) -> list[str]:
    return [message["content"] for message in api.get(f"/meetings/{meeting_id}/chat").data]


def test_a_database_that_refuses_gives_503_within_a_second_and_heals(
    stack: Stack, postgres: Postgres, host: Api, meeting_id: str
) -> None:
    with refused(postgres):
        check_refusals(host, meeting_id, REFUSED_SECONDS)
        assert host.get("//healthz").status == 200
        assert "database" in host.get("//readyz").body["message"]

    wait_until_healed(host, meeting_id)
    assert texts(host, meeting_id) == []
    assert host.post(f"/meetings/{meeting_id}/chat", {"content": "back", "message_type": "text"}).status == 201


def test_a_database_that_hangs_gives_503_within_ten_seconds_and_heals(
    stack: Stack, postgres: Postgres, host: Api, meeting_id: str
) -> None:
    slowest, stop = [0.0], threading.Event()

    def watch() -> None:
        api = Api(stack.url)
        while not stop.is_set():
            answer, took = timed(lambda: api.get("//healthz"))
            assert answer.status == 200
            slowest[0] = max(slowest[0], took)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    with hung(postgres):
        watcher.start()
        clients = [
            threading.Thread(target=check_refusals, args=(person, meeting_id, HUNG_SECONDS))
            for person in (Api(stack.url, host.token, seconds=20) for _ in range(6))
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        stop.set()
        watcher.join()

    assert slowest[0] < 0.5
    wait_until_healed(host, meeting_id)
    assert host.post(f"/meetings/{meeting_id}/chat", {"content": "back", "message_type": "text"}).status == 201
    assert texts(host, meeting_id).count("back") == 1


@pytest.mark.parametrize("stack", ["all"], indirect=True)  # no socket may reach the other role
@pytest.mark.parametrize("fault", [refused, hung])
def test_a_socket_stays_open_gets_no_ack_and_works_again(
    stack: Stack, postgres: Postgres, host: Api, meeting_id: str, fault: Callable
) -> None:
    with Socket.open(stack.url, meeting_id, token=host.token) as socket:
        chat = {"content": "are you there?", "message_type": "text"}
        socket.send("ping")
        socket.until("pong")  # it is quite open now
        with fault(postgres):
            answer = socket.request("chat", chat, id_="m1", seconds=HUNG_SECONDS)
            assert (answer["type"], answer["code"]) == ("error", "SERVICE_UNAVAILABLE")
            socket.send("ping", {}, "p1")
            assert socket.until("pong", 2)
        wait_until_healed(host, meeting_id)

        again = socket.request("chat", chat, id_="m1")
        assert again["type"] == "ack"
    assert texts(host, meeting_id) == ["are you there?"]
