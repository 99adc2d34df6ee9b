"""The promise itself: everything breaks, one thing after the other, while people talk."""

import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.drill import Drill, pause
from tests.faults.report import Figures, is_short
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(1200)]


class Nemesis:
    """Breaks things on a site, each time leaving it whole again."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def web_child(self) -> None:
        """Kill gunicorn's child."""
        self.site.kill_child("web0")

    def web(self) -> None:
        """Kill a whole gunicorn."""
        self.site.kill("web1")
        pause(1)
        self.site.restart("web1")

    def pool(self) -> None:
        """Kill a worker's pool."""
        self.site.kill_child("worker0")

    def worker(self) -> None:
        """Kill a worker and a beat."""
        for name in ("worker1", "beat0"):
            self.site.kill(name)
            self.site.restart(name)

    def valkey_restart(self) -> None:
        """Kill Valkey."""
        self.site.kill_valkey()
        pause(0.5)
        self.site.valkey.start()

    def valkey_away(self) -> None:
        """Let nobody reach Valkey for 10 s."""
        for legs in self.site.legs.values():
            legs.valkey.refuse()
        pause(10)
        for legs in self.site.legs.values():
            legs.valkey.heal()

    def valkey_hangs(self) -> None:
        """Stop Valkey for 8 s."""
        self.site.hold(self.site.valkey)
        pause(8)
        self.site.go_on()

    def postgres_restart(self) -> None:
        """Restart PostgreSQL."""
        self.site.stop_postgres(signal.SIGINT)
        self.site.postgres.start()

    def postgres_crash(self) -> None:
        """Crash PostgreSQL, and a web process with it."""
        self.site.kill_child("web1")
        self.site.stop_postgres(signal.SIGQUIT)
        self.site.postgres.start()

    def cut_client_legs(self) -> None:
        """Cut every connection between the processes and the servers."""
        for legs in self.site.legs.values():
            legs.postgres.reset()
            legs.valkey.reset()


def test_whatever_breaks_every_acknowledged_message_is_heard_once_and_in_order(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    wanted = 800 if is_short() else 3000
    nemesis = Nemesis(site)
    faults = [
        nemesis.web_child,
        nemesis.valkey_restart,
        nemesis.web,
        nemesis.postgres_restart,
        nemesis.pool,
        nemesis.valkey_away,
        nemesis.worker,
        nemesis.postgres_crash,
        nemesis.valkey_hangs,
        nemesis.cut_client_legs,
    ]
    with drill(clients=24, senders=6) as running:
        running.talk(25)
        running.crowd.wait_until_acked(wanted // 10)
        healthy_until = time.monotonic()
        phases: dict[str, tuple[float, float]] = {}
        for fault in faults:
            began = time.monotonic()
            fault()
            running.crowd.wait_until_acked(1)
            running.crowd.wait_until_connected(60)
            phases[fault.__name__] = (began, time.monotonic())
            site.wait_until_ready()
            running.crowd.wait_until_acked(wanted // 12, 120)
        if running.crowd.acked < wanted:
            running.crowd.wait_until_acked(wanted - running.crowd.acked, 300)
        verdict = running.judge()
        delays, healthy = running.delays(), running.delays(until=healthy_until)
        figures(
            "P1",
            f"{len(faults)} faults in turn: web, workers, beat, Valkey, PostgreSQL",
            "lost 0, twice 0, out of order 0; what was acknowledged is in the ledger, which has no hole",
            acknowledged=verdict.acked,
            delivered=verdict.delivered,
            clients=verdict.clients,
            lost=0,
            twice=0,
            out_of_order=0,
            retried=verdict.retried,
            answers_500=running.bugs,
        )
        killed = running.delays(*phases["web"])
        away = running.delays(*phases["valkey_away"])
        figures(
            "P2",
            "delay from acknowledgement to delivery",
            "p99 healthy ≤ 100 ms, web killed ≤ 1 s (≤ 8 s at most), Redis away ≤ 1.5 s (≤ 3 s at most)",
            healthy_p99=healthy.p99,
            web_killed_p99=killed.p99,
            web_killed_longest=killed.longest,
            Redis_away_p99=away.p99,
            Redis_away_longest=away.longest,
            over_all_p99=delays.p99,
        )
        assert verdict.acked >= wanted
        assert (verdict.resyncs, running.bugs) == (0, 0), running.troubles()
        assert healthy.p99 <= 0.1
        assert killed.p99 <= 1
        assert killed.longest <= 8
        assert away.p99 <= 1.5
        assert away.longest <= 3
