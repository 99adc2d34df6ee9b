"""Redis (Valkey) restarts, is away, hangs, forgets, and falls back to a replica that missed the last seconds."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from dev.valkey import Valkey
from tests.faults.drill import Drill, pause
from tests.faults.proxy import Proxy
from tests.faults.report import Figures, is_short
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(900)]


def a_worker_works(site: Site, seconds: float) -> float:
    """Wait for a sign of life of beat and a worker that is younger than this call."""
    with site.connect() as connection:
        (asked,) = connection.execute("SELECT now()").fetchone() or (None,)
        seen = "SELECT 1 FROM vitals WHERE name = 'worker' AND seen_at > %s"
        return site.until(lambda: connection.execute(seen, [asked]).rowcount == 1, seconds, "beat and a worker work")


def test_a_restart_of_valkey_is_a_blip(site: Site, drill: Callable[..., Drill], figures: Figures) -> None:
    with drill(clients=20, senders=4) as running:
        running.talk(20)
        running.crowd.wait_until_acked(40)
        began = time.monotonic()
        site.kill_valkey()
        pause(0.5)
        site.valkey.start()
        works = a_worker_works(site, 60)
        running.crowd.wait_until_acked(60)
        verdict = running.judge()
        delays = running.delays(began)
        figures(
            "F7",
            "Valkey killed, back after 0.5 s",
            "lost 0, delay p99 ≤ 1.5 s, workers consume again ≤ 10 s",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            delay_p99=delays.p99,
            longest=delays.longest,
            worker_again=works,
        )
        assert running.troubles() == {}
        assert delays.p99 <= 1.5
        assert works <= 10


@pytest.mark.parametrize("how", ["refused", "hangs", "black hole"])
def test_requests_do_not_notice_that_valkey_is_away(
    site: Site, drill: Callable[..., Drill], figures: Figures, how: str
) -> None:
    lasts = 10 if is_short() else 30
    with drill(clients=20, senders=4) as running:
        running.talk(20)
        running.crowd.wait_until_acked(40)
        began = time.monotonic()
        if how == "refused":
            for legs in site.legs.values():
                legs.valkey.refuse()
        elif how == "hangs":
            site.hold(site.valkey)
        else:
            for legs in site.legs.values():
                legs.valkey.blackhole()
        newcomers: list[float] = []
        while time.monotonic() - began < lasts:
            meeting_id = running.meeting_ids[0]
            actor, token = running.people.user()
            seat = running.people.join(meeting_id, actor, token)
            client = running.crowd.add(seat, site.ports, home=len(newcomers))
            joined = time.monotonic()
            answer = running.crowd.do(client.call("POST", f"/meetings/{meeting_id}/join", {}))
            newcomers.append(time.monotonic() - joined)
            assert answer.status == 200
            running.crowd.wait_until_acked(15, 30)
        ended = time.monotonic()
        for legs in site.legs.values():
            legs.valkey.heal()
        site.go_on()
        works = a_worker_works(site, 60)
        pause(max(0.0, 5 - (time.monotonic() - ended)))
        calm = time.monotonic()
        running.crowd.wait_until_acked(100)
        verdict = running.judge()
        during, after = running.delays(began, ended), running.delays(calm)
        answers = running.answers(began, ended)
        figures(
            "F8" if how == "refused" else "F9",
            f"Valkey {how} for {lasts} s",
            "no 5xx; answers p99 ≤ 300 ms; delay p99 ≤ 1.5 s, at most 3 s; as before ≤ 5 s afterwards",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            answers_p99=answers.p99,
            longest_answer=answers.longest,
            longest_join=max(newcomers),
            delay_p99=during.p99,
            longest_delay=during.longest,
            delay_p99_afterwards=after.p99,
            worker_again=works,
            beats_restarted=site.beats_revived(),
        )
        assert running.troubles() == {}
        assert answers.p99 <= 0.3
        assert during.p99 <= 1.5
        assert during.longest <= 3
        assert after.p99 <= 0.1


def test_valkey_may_forget_everything_at_any_instant(site: Site, drill: Callable[..., Drill], figures: Figures) -> None:
    times, seconds = (4, 20) if is_short() else (10, 60)
    with drill(clients=20, senders=4) as running:
        running.talk(20)
        began = time.monotonic()
        instants = sorted(random.uniform(0, seconds) for _ in range(times))
        with redis.Redis.from_url(site.valkey.url) as client:
            for instant in instants:
                pause(max(0.0, began + instant - time.monotonic()))
                client.flushall()
        works = a_worker_works(site, 60)
        running.crowd.wait_until_acked(40)
        verdict = running.judge()
        delays = running.delays(began)
        figures(
            "P14",
            f"FLUSHALL at {times} random instants of {seconds} s",
            "lost 0; beat and workers go on ≤ 60 s",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            delay_p99=delays.p99,
            worker_again=works,
            beats_restarted=site.beats_revived(),
        )
        assert running.troubles() == {}


def test_valkey_may_lose_its_disk(site: Site, drill: Callable[..., Drill], figures: Figures) -> None:
    with drill(clients=20, senders=4) as running:
        running.talk(20)
        running.crowd.wait_until_acked(40)
        site.kill_valkey()
        shutil.rmtree(site.directory / "valkey")
        site.valkey.start()
        works = a_worker_works(site, 60)
        running.crowd.wait_until_acked(60)
        verdict = running.judge()
        figures(
            "F10",
            "Valkey killed, its files removed",
            "lost 0; beat and workers go on ≤ 60 s",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            worker_again=works,
            beats_restarted=site.beats_revived(),
        )
        assert running.troubles() == {}


def test_valkey_may_fail_over_to_a_replica_that_missed_the_last_seconds(
    site: Site, drill: Callable[..., Drill], figures: Figures, tmp_path: Path
) -> None:
    with Proxy(site.valkey.port) as replication, Valkey(tmp_path / "replica", appendonly=True) as replica:
        client = redis.Redis(port=replica.port)
        client.replicaof("127.0.0.1", replication.port)
        site.until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica follows")
        with drill(clients=20, senders=4) as running:
            running.talk(20)
            running.crowd.wait_until_acked(40)
            replication.blackhole()
            pause(5)
            for legs in site.legs.values():
                legs.valkey.target = replica.port
            client.replicaof("no", "one")
            for legs in site.legs.values():
                legs.valkey.reset()
            works = a_worker_works(site, 60)
            running.crowd.wait_until_acked(60)
            verdict = running.judge()
            figures(
                "F11",
                "failover to a replica 5 s behind",
                "lost 0; beat and workers go on ≤ 60 s",
                acknowledged=verdict.acked,
                lost=0,
                retried=verdict.retried,
                worker_again=works,
                beats_restarted=site.beats_revived(),
            )
            assert running.troubles() == {}
        for legs in site.legs.values():
            legs.valkey.target = site.valkey.port
            legs.valkey.reset()
        client.close()
