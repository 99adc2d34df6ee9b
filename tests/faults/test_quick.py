"""The promises that every change has to keep, in two minutes. `make faults` runs the whole catalogue."""

import signal
from collections.abc import Callable

import pytest

from tests.fakes.receiver import Receiver, flapping
from tests.faults.drill import Drill
from tests.faults.hooks import Hooks
from tests.faults.report import Figures
from tests.faults.site import Site

pytestmark = [pytest.mark.postgres_only, pytest.mark.timeout(120)]

PER_SECOND = 20.0


def test_nothing_acknowledged_is_lost_when_a_web_process_and_then_valkey_are_killed(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=20, senders=4) as running:
        running.talk(PER_SECOND)
        running.crowd.wait_until_acked(60)
        site.kill("web1")
        running.crowd.wait_until_connected()
        running.crowd.wait_until_acked(40)
        site.kill_valkey()
        running.crowd.wait_until_acked(60)
        site.valkey.start()
        site.restart("web1")
        running.crowd.wait_until_acked(100)
        verdict = running.judge()
        assert (verdict.resyncs, verdict.unknown, running.bugs) == (0, 0, 0), running.troubles()
        delays, resumes = running.delays(), running.resumes()
        figures(
            "P1",
            "web process killed, Valkey killed (quick)",
            "lost 0, twice 0, out of order 0; what was acknowledged is in the ledger",
            acknowledged=verdict.acked,
            delivered=verdict.delivered,
            lost=0,
            twice=0,
            out_of_order=0,
            retried=verdict.retried,
            delay_p50=delays.p50,
            p99=delays.p99,
            resume_longest=resumes.longest,
        )


def test_a_web_process_that_is_told_to_stop_sends_everybody_elsewhere(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=20, senders=4) as running:
        running.talk(PER_SECOND)
        running.crowd.wait_until_acked(20)
        here = [client for client in running.crowd.clients if client.port == site.ports[0]]
        assert len(here) >= 10
        took = site.terminate("web0")
        running.crowd.wait_until_connected()
        running.crowd.wait_until_acked(20)
        site.restart("web0")
        verdict = running.judge()
        assert [client.close_codes for client in here] == [[1012]] * len(here)
        assert took <= 10
        assert not any("500" in what for what in running.troubles())
        figures(
            "P11",
            "SIGTERM with 10 sockets (quick)",
            "all closed with 1012, exit ≤ 10 s, lost 0",
            closed_1012=len(here),
            exit=took,
            acknowledged=verdict.acked,
            lost=0,
        )


def test_presence_and_jobs_go_on_when_a_worker_is_killed(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=6, senders=2) as running:
        running.talk(PER_SECOND / 2)
        running.crowd.wait_until_acked(10)
        site.kill("worker0")
        with site.connect() as connection:
            (killed,) = connection.execute("SELECT now()").fetchone() or (None,)
            seen = "SELECT 1 FROM vitals WHERE name = 'worker' AND seen_at > %s"
            took = site.until(lambda: connection.execute(seen, [killed]).rowcount == 1, 20, "a worker works")
        running.crowd.wait_until_acked(20)
        verdict = running.judge()
        assert running.troubles() == {}
        figures(
            "F4",
            "a worker killed (quick)",
            "messages unaffected; the other worker goes on",
            acknowledged=verdict.acked,
            retried=verdict.retried,
            next_sign_of_a_worker=took,
        )


def test_a_webhook_receiver_that_flaps_is_told_everything_in_order_though_a_worker_is_killed(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with Receiver() as receiver, drill(clients=2, senders=2) as running:
        hooks = Hooks.of(running, receiver.url)
        receiver.fault = flapping(0.3, seed=7)
        running.talk(PER_SECOND / 2)
        running.crowd.wait_until_acked(6)
        site.kill("worker0")
        running.crowd.wait_until_acked(6)
        verdict = running.judge()
        took = hooks.wait_until_told(receiver.arrivals, 60)
        told = hooks.judge(receiver.arrivals)
        figures(
            "P16",
            "webhook receiver fails 30 % of requests, a worker killed (quick)",
            "every event ≥ 1 time, in order, signed",
            events=told.events,
            requests=told.requests,
            came_again=told.again,
            lost=0,
            acknowledged=verdict.acked,
            all_told_after=took,
        )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_nothing_acknowledged_is_lost_when_postgresql_restarts(
    site: Site, drill: Callable[..., Drill], figures: Figures, how: signal.Signals
) -> None:
    with drill(clients=12, senders=4) as running:
        running.talk(PER_SECOND)
        running.crowd.wait_until_acked(20)
        site.stop_postgres(how)
        site.postgres.start()
        back = running.crowd.wait_until_acked(1)
        running.crowd.wait_until_acked(40)
        verdict = running.judge()
        assert (verdict.resyncs, running.bugs) == (0, 0), running.troubles()
        assert back <= 5
        assert sum(client.welcomes for client in running.crowd.clients) == len(running.crowd.clients)
        figures(
            "F12",
            f"PostgreSQL restarted, {'fast' if how == signal.SIGINT else 'immediate'} (quick)",
            "lost 0, first success ≤ 5 s, sockets stay open",
            acknowledged=verdict.acked,
            first_success=back,
            retried=verdict.retried,
            sockets_lost=0,
        )
