"""Clients that do not read, that flood, that all come back at once, and more of them than there is room for."""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from dev.process import LOOPBACK
from dev.websocket_client import Socket
from shared.core import ledger
from tests.faults.checker import Delays
from tests.faults.clients import Seat
from tests.faults.drill import Drill, Pulse, pause
from tests.faults.proxy import Proxy
from tests.faults.report import Figures, is_short
from tests.faults.site import Site, memory_of
from tests.faults.wire import request

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(900)]

MEGABYTE = 1024 * 1024
LEDGER_READS = "query LIKE 'SELECT events.%' AND query LIKE '%events.seq > %'"


@pytest.fixture
def limited(site: Site) -> Iterator[int]:
    """The port of a web process with rate limits on, but for chat."""
    with site.another_web(
        RATELIMIT_ENABLED="true", RATELIMIT_CHAT="1000000/minute", RATELIMIT_PARTICIPANTS="1000000/hour"
    ) as port:
        yield port


class Flooder:
    """Sends large frames as fast as they are taken, and reads nothing. `closed_after` says when it was cut off."""

    def __init__(self, port: int, seat: Seat) -> None:
        self._socket = Socket.open(f"http://{LOOPBACK}:{port}", seat.meeting_id, token=seat.token)
        self._thread = threading.Thread(target=self._flood, daemon=True)
        self.closed_after = 0.0
        self.sent = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _flood(self) -> None:
        text = json.dumps({"type": "typing", "data": {"is_typing": True, "x": "x" * 16_000}})
        began = time.monotonic()
        try:
            while time.monotonic() - began < 60:
                self._socket.send_text(text)
                self.sent += 1
        except OSError:
            self.closed_after = time.monotonic() - began
        finally:
            self._socket.drop()

    def join(self) -> None:
        """Wait until it is over."""
        self._thread.join(70)


def deaf(port: int, seat: Seat) -> socket.socket:
    """Return a socket that was upgraded, has the smallest buffer, and is never read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((LOOPBACK, port))
    head = [f"GET /ws/meetings/{seat.meeting_id} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    head += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", ""]
    head.insert(1, f"Authorization: Bearer {seat.token}")
    raw.sendall("\r\n".join([*head, ""]).encode())
    return raw


def test_slow_and_hostile_clients_harm_themselves_only(
    site: Site, limited: int, drill: Callable[..., Drill], figures: Figures
) -> None:
    lasts = 20 if is_short() else 60
    with drill(clients=40, senders=6, ports=[limited]) as running, Proxy(limited) as slow_leg:
        running.talk(20, padding=3500)
        running.crowd.wait_until_acked(40)
        meeting_id = running.meeting_ids[0]
        began = time.monotonic()
        running.crowd.wait_until_acked(60)
        calm = running.delays(began).p99
        pid = site.processes["web2"].pid
        memory = memory_of(pid)
        seats = [running.people.join(meeting_id, *running.people.user()) for _ in range(4)]
        silent = [deaf(limited, seat) for seat in seats[:2]]
        slow_leg.throttle(1000)
        slow = deaf(slow_leg.port, seats[2])
        flooder = Flooder(limited, seats[3])
        began = time.monotonic()
        flooder.start()
        grown = 0
        while time.monotonic() - began < lasts:
            running.crowd.wait_until_acked(20)
            grown = max(grown, memory_of(pid) - memory)
        during = running.delays(began)
        verdict = running.judge()
        flooder.join()
        for each in (*silent, slow):
            each.close()
        figures(
            "P10",
            f"2 of 40 never read, one reads 1 kB/s, one floods, {lasts} s (F21)",
            "others: lost 0, delay p99 ≤ 250 ms; the flooder is out ≤ 10 s; memory grows ≤ 50 MB",
            acknowledged=verdict.acked,
            lost=0,
            delay_p99_before=calm,
            delay_p99_meanwhile=during.p99,
            longest=during.longest,
            flooder_out_after=flooder.closed_after,
            memory=f"{grown / MEGABYTE:.0f} MB",
        )
        assert 0 < flooder.closed_after <= 10
        assert grown <= 50 * MEGABYTE
        assert during.p99 <= 0.25


def test_a_storm_of_returning_clients_hardly_touches_the_ledger(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    count_statements(site)
    size, meetings = (100, 10) if is_short() else (300, 10)
    with drill(clients=2 * size, senders=10, meetings=meetings) as running, site.connect() as database:
        running.talk(10)
        running.crowd.wait_until_acked(20)
        here = [c for c in running.crowd.clients if c.port == site.ports[0]]
        assert ledger_reads_by(running, database) > 0  # or the count below would say nothing
        database.execute("SELECT pg_stat_statements_reset()")
        gaps = [metric(site, 1, "parley_stream_gaps_total")]
        site.kill("web0")
        running.crowd.wait_for(lambda: not any(c.is_connected and c.port == site.ports[0] for c in here), 10, "cut")
        took = running.crowd.wait_until_connected(60)
        gaps.append(metric(site, 1, "parley_stream_gaps_total"))
        reads = database.execute(f"SELECT sum(calls)::int, sum(rows)::int FROM pg_stat_statements WHERE {LEDGER_READS}")
        calls, rows = reads.fetchone() or (0, 0)
        site.restart("web0")
        site.wait_until_ready()
        verdict = running.judge(90)
        resumes = Delays(tuple(sorted(s for c in here for s in c.resumed_after)))
        refused = Counter(r.detail for r in running.crowd.history if r.kind == "refused")
        figures(
            "P12",
            f"process with {len(here)} sockets in {meetings} meetings killed",
            "ledger reads ≤ 3 a meeting, resume p99 ≤ 3 s, no 5xx",
            ledger_reads=calls or 0,
            rows_read=rows or 0,
            gap_events=f"{gaps[1] - gaps[0]:.0f}",
            all_back_after=took,
            resume_p99=resumes.p99,
            refused=dict(refused),
            lost=len(verdict.lost),
        )
        assert (calls or 0) <= 3 * meetings
        assert resumes.p99 <= 3
        assert not any(what.startswith("5") for what in refused)


def test_sockets_that_are_all_reset_at_once_come_back(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    size = 100 if is_short() else 300
    with (
        Proxy(site.ports[0]) as first,
        Proxy(site.ports[1]) as second,
        drill(clients=size, senders=10, meetings=10, ports=[first.port, second.port]) as running,
    ):
        running.talk(10)
        running.crowd.wait_until_acked(20)
        before = sum(c.welcomes for c in running.crowd.clients)
        first.reset()
        second.reset()
        running.crowd.wait_for(lambda: sum(len(c.close_codes) for c in running.crowd.clients) >= size, 10, "cut")
        running.crowd.wait_until_connected(60)
        verdict = running.judge()
        resumes = running.resumes()
        refused = Counter(r.detail for r in running.crowd.history if r.kind == "refused")
        figures(
            "F25",
            f"{size} sockets reset at once",
            "lost 0, resume p99 ≤ 3 s, no 5xx",
            came_back=sum(c.welcomes for c in running.crowd.clients) - before,
            resume_p50=resumes.p50,
            resume_p99=resumes.p99,
            refused=dict(refused),
            lost=len(verdict.lost),
        )
        assert resumes.p99 <= 3
        assert not any(what.startswith("5") for what in refused)


def ledger_reads_by(running: Drill, database: "psycopg.Connection[Any]") -> int:
    """Read the ledger once as the product does, and return how often PostgreSQL saw it."""
    database.execute("SELECT pg_stat_statements_reset()")
    with running.people.reading() as tx:
        ledger.read(tx.connection, f"m:{running.meeting_ids[0]}", 0, 10)
    seen = database.execute(f"SELECT sum(calls)::int FROM pg_stat_statements WHERE {LEDGER_READS}").fetchone()
    return (seen or (0,))[0] or 0


def count_statements(site: Site) -> None:
    """Let PostgreSQL count statements; that takes a restart, once."""
    with site.connect() as connection:
        if connection.execute("SHOW shared_preload_libraries").fetchone() == ("pg_stat_statements",):
            return
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    site.stop_postgres()
    site.postgres.start()
    with site.connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    site.wait_until_ready()


def metric(site: Site, index: int, name: str) -> float:
    """Return what a web process counts."""
    text = asyncio.run(text_of(site.ports[index], "/metrics"))
    return sum(float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(name))


async def text_of(port: int, path: str) -> str:
    """Return an answer that is no JSON."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    text = (await reader.read(-1)).decode()
    writer.close()
    return text


class Load:
    """Requests at a fixed rate, whether answered or not."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.without_advice = 0

    async def run(self, ports: list[int], seats: list[Seat], per_second: float, seconds: float) -> None:
        """Post messages."""
        tasks = []
        began = time.monotonic()
        for number in range(int(per_second * seconds)):
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
            seat = seats[number % len(seats)]
            tasks.append(asyncio.create_task(self._one(ports[number % len(ports)], seat, f"{id(self)}-{number}")))
        await asyncio.gather(*tasks)

    async def _one(self, port: int, seat: Seat, key: str) -> None:
        began = time.monotonic()
        body = {"content": key, "message_type": "text"}
        try:
            path = f"/api/v1/meetings/{seat.meeting_id}/chat"
            answer = await asyncio.wait_for(request(port, "POST", path, body, token=seat.token), 15)
        except (OSError, TimeoutError):
            self.statuses[0] += 1
            return
        self.statuses[answer.status] += 1
        if answer.status == 201:
            self.seconds.append(time.monotonic() - began)
        elif "retry-after" not in answer.headers:
            self.without_advice += 1

    @property
    def admitted(self) -> Delays:
        """Return how long those took that were served."""
        return Delays(tuple(sorted(self.seconds)))


def test_ten_times_the_load_is_refused_politely_and_over_when_it_is_over(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    per_second, lasts = 20, 10 if is_short() else 30
    with drill(clients=40, senders=0, meetings=4) as running, Pulse(site.url) as pulse:
        seats = [c.seat for c in running.crowd.clients]
        crawlers = [socket.create_connection((LOOPBACK, site.ports[0])) for _ in range(100)]
        for crawler in crawlers:
            crawler.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        calm, burst, after = Load(), Load(), Load()
        running.crowd.do(calm.run(site.ports, seats, per_second, 10), 60)
        running.crowd.do(burst.run(site.ports, seats, per_second * 10, lasts), lasts + 60)
        pause(10)
        running.crowd.do(after.run(site.ports, seats, per_second, 10), 60)
        for crawler in crawlers:
            crawler.close()
        verdict = running.settle()
        figures(
            "P13",
            f"{per_second * 10} messages/s for {lasts} s after {per_second}/s, and 100 slow-header connections (F24)",
            "served p99 ≤ 2 s, others 429 or 503 with Retry-After; afterwards p99 ≤ 1.5 × before; /healthz ≤ 200 ms",
            p99_before=calm.admitted.p99,
            answers=dict(burst.statuses),
            p99_served=burst.admitted.p99,
            p99_afterwards=after.admitted.p99,
            healthz_p99=pulse.delays.p99,
            healthz_longest=pulse.delays.longest,
        )
        assert verdict.defects == []
        assert set(burst.statuses) <= {201, 429, 503}
        assert burst.without_advice == 0
        assert burst.admitted.p99 <= 2
        assert after.admitted.p99 <= max(0.1, 1.5 * calm.admitted.p99)
        assert pulse.delays.p99 <= 0.2
