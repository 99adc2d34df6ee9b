"""PostgreSQL restarts, hangs, is full, kills transactions, and is slow to reach."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.checker import answers
from tests.faults.drill import Drill, Pulse, pause
from tests.faults.report import Figures, is_short
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(900)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_pools_heal_when_postgresql_restarts(
    site: Site, drill: Callable[..., Drill], figures: Figures, how: signal.Signals
) -> None:
    rounds = 2 if is_short() else 5
    with drill(clients=20, senders=6) as running:
        running.talk(20)
        backs = []
        for _ in range(rounds):
            running.crowd.wait_until_acked(random.randint(20, 40))
            site.stop_postgres(how)
            pause(1)
            site.postgres.start()
            backs.append(running.crowd.wait_until_acked(1))
        running.crowd.wait_until_acked(40)
        verdict = running.judge()
        lost = sum(client.welcomes - 1 for client in running.crowd.clients)
        figures(
            "F12",
            f"PostgreSQL restarted, {'fast' if how == signal.SIGINT else 'immediate'}, {rounds} times",
            "lost 0, first success ≤ 5 s after it is up, sockets stay open, never a 500",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            first_success=max(backs),
            sockets_lost=lost,
            answers_500=running.bugs,
        )
        assert (verdict.resyncs, running.bugs) == (0, 0), running.troubles()
        assert max(backs) <= 5
        assert lost == 0


@pytest.mark.parametrize("how", ["hangs", "black hole"])
def test_nothing_hangs_for_ever_when_postgresql_hangs(
    site: Site, drill: Callable[..., Drill], figures: Figures, how: str
) -> None:
    lasts = 20
    with drill(clients=20, senders=6) as running, Pulse(site.url) as pulse:
        running.talk(20)
        running.crowd.wait_until_acked(40)
        if how == "hangs":
            site.hold(site.postgres)
        else:
            for legs in site.legs.values():
                legs.postgres.blackhole()
        began = time.monotonic()
        with Pulse(site.url_of(1), f"/meetings/{running.meeting_ids[0]}") as reading:
            token = running.crowd.clients[0].seat.token
            reading.authorize(token)
            pause(lasts)
        ended = time.monotonic()
        acks_during = sum(1 for r in running.crowd.history if r.kind == "ok" and began + 0.2 < r.at < ended)
        for legs in site.legs.values():
            legs.postgres.heal()
        site.go_on()
        back = running.crowd.wait_until_acked(1)
        running.crowd.wait_until_acked(60)
        verdict = running.judge()
        lost = sum(client.welcomes - 1 for client in running.crowd.clients)
        figures(
            "F13",
            f"PostgreSQL {how} for {lasts} s",
            "503 ≤ 10 s, /healthz ≤ 200 ms, as before ≤ 5 s afterwards, nothing twice",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            acknowledged_meanwhile=acks_during,
            longest_answer=reading.delays.longest,
            answers=dict(reading.statuses),
            healthz_p99=pulse.delays.p99,
            healthz_longest=pulse.delays.longest,
            first_success=back,
            sockets_lost=lost,
        )
        assert acks_during == 0
        assert reading.delays.longest <= 10
        assert set(reading.statuses) <= {200, 503, 504}
        assert pulse.statuses.keys() == {200}
        assert pulse.delays.p99 <= 0.2
        assert back <= 5
        assert running.bugs == 0


def test_a_full_postgresql_is_said_at_once_and_sockets_do_not_mind(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=12, senders=4) as running:
        running.talk(10)
        running.crowd.wait_until_acked(20)
        taken = _take_all_connections(site)
        began = time.monotonic()
        try:
            with Pulse(site.url, f"/meetings/{running.meeting_ids[0]}") as reading:
                reading.authorize(running.crowd.clients[0].seat.token)
                pause(8)
        finally:
            for connection in taken:
                connection.close()
        back = running.crowd.wait_until_acked(1)
        running.crowd.wait_until_acked(20)
        verdict = running.judge()
        lost = sum(client.welcomes - 1 for client in running.crowd.clients)
        figures(
            "F14",
            f"all connections of PostgreSQL taken ({len(taken)} of ours) for {time.monotonic() - began:.0f} s",
            "503 ≤ 2.5 s, sockets unaffected",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            longest_answer=reading.delays.longest,
            answers=dict(reading.statuses),
            first_success=back,
            sockets_lost=lost,
        )
        assert 503 in reading.statuses
        assert set(reading.statuses) <= {200, 503}
        assert reading.delays.longest <= 2.5
        assert lost == 0
        assert running.bugs == 0


def _take_all_connections(site: Site) -> list["psycopg.Connection"]:
    """Hold every connection that PostgreSQL gives, those of the product included; bounded by max_connections."""
    taken = []
    with site.connect() as chief:
        (most,) = chief.execute("SELECT current_setting('max_connections')::int").fetchone() or (0,)
        for _ in range(most * 3):
            try:
                taken.append(site.connect())
            except psycopg.OperationalError:
                killed = chief.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parley' LIMIT 1"
                )
                if not killed.fetchall():
                    break
    return taken


def test_terminated_transactions_and_deadlocks_are_tried_again_and_leave_nothing_half_done(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=12, senders=6) as running, site.connect() as chief:
        running.talk(30)
        running.crowd.wait_until_acked(30)
        killed = 0
        until = time.monotonic() + (10 if is_short() else 30)
        busy = """SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
            WHERE application_name = 'parley' AND xact_start IS NOT NULL ORDER BY random() LIMIT 1) busy"""
        while time.monotonic() < until:
            running.crowd.wait_until_acked(1)
            killed += (chief.execute(busy).fetchone() or (0,))[0]
        deadlocks = 5
        for _ in range(deadlocks):
            _deadlock(site, running)
        running.crowd.wait_until_acked(20)
        verdict = running.judge()
        figures(
            "F15",
            f"{killed} transactions terminated at random, {deadlocks} deadlocks",
            "success or 503, never a 500; nothing half done",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            answers_500=running.bugs,
        )
        assert killed >= 3
        assert running.bugs == 0, running.troubles()
        assert not any(status == 500 for status in running.crowd.statuses)


def _deadlock(site: Site, running: Drill) -> None:
    """Lock what leaving locks, the other way round: PostgreSQL undoes either our transaction or the product's."""
    meeting_id = running.meeting_ids[0]
    seat = running.people.join(meeting_id, *running.people.user())
    client = running.crowd.add(seat, running.ports)
    running.crowd.wait_until_connected()
    leaving: list[int] = []

    def leave() -> None:
        leaving.append(running.crowd.do(client.call("POST", f"/meetings/{meeting_id}/leave", {})).status)

    with psycopg.connect(site.dsn) as ours, site.connect() as watch:
        ours.execute("SELECT 1 FROM streams WHERE key = %s FOR UPDATE", [f"m:{meeting_id}"])
        thread = threading.Thread(target=leave, daemon=True)
        thread.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'parley' AND wait_event_type = 'Lock'"
        site.until(lambda: watch.execute(waits).rowcount > 0, 5, "the product waits for the stream")
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            ours.execute("SELECT 1 FROM meetings WHERE id = %s FOR UPDATE", [meeting_id])
        ours.rollback()
    thread.join(15)
    assert leaving[0] in (200, 503), leaving
    running.crowd.remove(client)


def test_a_locked_meeting_holds_up_no_other_one(site: Site, drill: Callable[..., Drill], figures: Figures) -> None:
    with drill(clients=20, senders=8, meetings=2) as running:
        locked, other = running.meeting_ids
        running.talk(20)
        running.crowd.wait_until_acked(40)
        began = time.monotonic()
        with psycopg.connect(site.dsn) as holder, Pulse(site.url, f"/meetings/{locked}/chat", 0.5) as posting:
            holder.execute("SELECT 1 FROM streams WHERE key = %s FOR UPDATE", [f"m:{locked}"])
            client = next(c for c in running.crowd.clients if c.seat.meeting_id == locked)
            posting.authorize(client.seat.token, {"content": "anybody?", "message_type": "text"})
            pause(5)
            held = time.monotonic()
            holder.rollback()
        running.crowd.wait_until_acked(40)
        verdict = running.judge()
        elsewhere = [r for r in running.crowd.history if _is_of(r.who, running, other)]
        calm, during = answers(elsewhere, 0, began).p99, answers(elsewhere, began, held).p99
        figures(
            "F16",
            "one meeting's stream locked for 5 s",
            "others as before; that one 503 ≤ 2.5 s",
            acknowledged=verdict.acked,
            lost=0,
            others_p99_before=calm,
            others_p99_meanwhile=during,
            there_longest=posting.delays.longest,
            there=dict(posting.statuses),
        )
        assert during <= max(0.15, calm * 2)
        assert 503 in posting.statuses
        assert posting.delays.longest <= 2.5
        assert running.bugs == 0


def _is_of(who: str, running: Drill, meeting_id: str) -> bool:
    return any(c.name == who and c.seat.meeting_id == meeting_id for c in running.crowd.clients)


@pytest.mark.parametrize("meetings", [1, 10])
def test_latency_makes_everything_slower_and_nothing_wrong(
    site: Site, drill: Callable[..., Drill], figures: Figures, meetings: int
) -> None:
    # Senders wait for their answers, so that what is asked for is not what is reached: the rate is measured.
    with drill(clients=40, senders=20, meetings=meetings) as running:
        running.talk(20)
        running.crowd.wait_until_acked(40)
        for legs in site.legs.values():
            for leg in (legs.postgres, legs.valkey):
                leg.delay(0.05, jitter=0.1)  # 200 ms there and back, 100 ms more or less
        began = time.monotonic()
        running.crowd.wait_until_acked(100 if is_short() else 400, 120)
        ended = time.monotonic()
        for legs in site.legs.values():
            legs.postgres.heal()
            legs.valkey.heal()
        verdict = running.judge()
        took, delays = running.answers(began, ended), running.delays(began, ended)
        acked = sum(1 for r in running.crowd.history if r.kind == "ok" and began < r.at < ended)
        figures(
            "F26",
            f"200 ± 100 ms on every way to PostgreSQL and Valkey, senders in {meetings} meetings",
            "lost 0, no timeouts at 20 messages/s",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            answers_p50=took.p50,
            answers_p99=took.p99,
            delay_p99=delays.p99,
            reached_messages_a_second=round(acked / (ended - began), 1),
        )
        assert running.troubles() == {}
