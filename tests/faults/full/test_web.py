"""Web processes die, are stopped, and are replaced."""

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.drill import Drill, pause
from tests.faults.report import Figures, is_short
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(1800)]


def test_clients_go_on_elsewhere_when_a_web_process_dies_and_the_other_one_makes_no_error(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=20, senders=6) as running:
        running.talk(30)
        for round_ in range(5):
            running.crowd.wait_until_acked(random.randint(20, 40))
            site.kill_child(f"web{round_ % 2}")
            running.crowd.wait_until_connected()
            site.wait_until_ready()
        running.crowd.wait_until_acked(40)
        verdict = running.judge()
        troubles = running.troubles()
        resumes = running.resumes()
        figures(
            "F1",
            "gunicorn's child killed, 5 times",
            "lost 0, resume p99 ≤ 3 s, the other process makes no error",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            resume_p99=resumes.p99,
            answers_5xx=sum(n for what, n in troubles.items() if "SERVICE" in what or "INTERNAL" in what),
        )
        assert (verdict.resyncs, verdict.unknown) == (0, 0)
        assert resumes.p99 <= 3
        assert not any("SERVICE" in what or "INTERNAL" in what for what in troubles), troubles


def test_the_other_gunicorn_serves_when_a_whole_one_dies(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=20, senders=6) as running:
        running.talk(30)
        for round_ in range(2 if is_short() else 5):
            running.crowd.wait_until_acked(random.randint(20, 40))
            name = f"web{round_ % 2}"
            site.kill(name)
            running.crowd.wait_until_connected()
            running.crowd.wait_until_acked(20)
            site.restart(name)
            site.wait_until_ready()
        verdict = running.judge()
        troubles = running.troubles()
        resumes = running.resumes()
        figures(
            "F2",
            "gunicorn killed with its child",
            "lost 0, resume p99 ≤ 3 s",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            resume_p99=resumes.p99,
        )
        assert (verdict.resyncs, verdict.unknown) == (0, 0)
        assert resumes.p99 <= 3
        assert not any("SERVICE" in what or "INTERNAL" in what for what in troubles), troubles


def test_no_acknowledgement_is_false_however_often_the_process_is_killed_while_sending(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    kills = 20 if is_short() else 200
    with drill(clients=8, senders=8) as running:
        running.talk(80)
        for kill in range(kills):
            name = f"web{kill % 2}"
            site.until(lambda index=kill % 2: site.is_up(index, "//healthz"), 30, f"{name} is up")  # type: ignore[misc]
            running.crowd.wait_until_acked(1)
            pause(random.uniform(0, 0.2))  # at any instant of a send
            site.kill_child(name)
        verdict = running.judge()
        figures(
            "P3",
            f"web process killed {kills} times while sending",
            "every acknowledged message is in the ledger; no other is there twice",
            acknowledged=verdict.acked,
            retried=verdict.retried,
            false_acknowledgements=0,
            twice_in_the_ledger=0,
        )


def test_three_hundred_sockets_are_sent_elsewhere_within_two_seconds_ten_times_in_ten(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    runs = 3 if is_short() else 10
    closing: list[float] = []
    exits: list[float] = []
    with drill(clients=600, senders=10, meetings=10) as running:
        running.talk(20)
        for run in range(runs):
            name = f"web{run % 2}"
            here = [c for c in running.crowd.clients if c.port == site.ports[run % 2]]
            before = {client: len(client.close_codes) for client in here}
            running.crowd.wait_until_acked(10)
            began = time.monotonic()
            exits.append(site.terminate(name))
            assert all(client.close_codes[before[client] :] == [1012] for client in here), [
                client.close_codes[before[client] :] for client in here
            ]
            names = {client.name for client in here}
            ends = [r.at for r in running.crowd.history if r.kind == "disconnect" and r.who in names and r.at > began]
            assert len(ends) >= len(here) >= 250
            closing.append(max(ends) - began)
            running.crowd.wait_until_connected(60)
            site.restart(name)
            site.wait_until_ready()
            half = [c for c in running.crowd.clients if c.port != site.ports[run % 2]][: len(here)]
            for client in half:
                running.crowd.do(_go(client.drop))
            running.crowd.wait_until_connected(60)
        verdict = running.judge()
        figures(
            "P11",
            f"SIGTERM with 300 sockets, {runs} runs",
            "all closed with 1012 ≤ 2 s, exit ≤ 10 s, lost 0",
            closed_1012=f"all of {len(closing)} × ~300",
            last_close=max(closing),
            longest_exit=max(exits),
            acknowledged=verdict.acked,
            lost=0,
        )
        assert max(closing) <= 2
        assert max(exits) <= 10


async def _go(what: Callable[[], None]) -> None:
    what()


def test_nobody_gets_a_5xx_when_both_web_processes_are_replaced_in_turn(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    with drill(clients=30, senders=15) as running:
        running.talk(50)
        running.crowd.wait_until_acked(100)
        for name in site.webs:
            site.terminate(name)
            site.restart(name)
            site.wait_until_ready()
            running.crowd.wait_until_acked(100)
        verdict = running.judge()
        failures = {status: n for status, n in running.crowd.statuses.items() if status >= 500}
        figures(
            "P11",
            "both web processes replaced in turn at 50 messages/s",
            "lost 0, no HTTP 5xx",
            acknowledged=verdict.acked,
            lost=0,
            answers_5xx=sum(failures.values()),
            retried=verdict.retried,
        )
        assert failures == {}
        assert running.bugs == 0
        assert not any("SERVICE" in what for what in running.troubles()), running.troubles()


def test_everything_can_be_restarted_in_turn(site: Site, drill: Callable[..., Drill], figures: Figures) -> None:
    with drill(clients=20, senders=10) as running:
        running.talk(25)
        running.crowd.wait_until_acked(50)
        for name in [*site.processes]:
            site.terminate(name)
            site.restart(name)
            site.wait_until_ready()
            running.crowd.wait_until_acked(25)
        quiet = running.troubles()
        site.kill_valkey()
        site.valkey.start()
        running.crowd.wait_until_acked(25)
        site.stop_postgres(signal.SIGINT)
        site.postgres.start()
        back = running.crowd.wait_until_acked(1)
        running.crowd.wait_until_acked(50)
        site.wait_until_ready()
        verdict = running.judge()
        figures(
            "F33",
            "every process and server restarted in turn",
            "lost 0; no 5xx but while PostgreSQL is away",
            acknowledged=verdict.acked,
            lost=0,
            retried=verdict.retried,
            first_success_after_PostgreSQL=back,
        )
        assert (verdict.resyncs, running.bugs) == (0, 0), running.troubles()
        assert not any("SERVICE" in what for what in quiet), quiet
