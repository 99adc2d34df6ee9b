"""A webhook receiver is away for long and then unreliable, while workers die with its letters in hand (promise P16)."""

import time
from collections.abc import Callable

import pytest

from tests.fakes.receiver import Receiver, flapping
from tests.faults.drill import Drill, pause
from tests.faults.hooks import Hooks
from tests.faults.proxy import Proxy
from tests.faults.report import Figures, is_short
from tests.faults.site import Site

pytestmark = [pytest.mark.full, pytest.mark.postgres_only, pytest.mark.timeout(900)]

SPEED = 10  # of tests.faults.poisoned: all times of webhooks are a tenth


def test_what_a_receiver_missed_in_ten_minutes_and_what_it_refuses_afterwards_comes_in_order(
    site: Site, drill: Callable[..., Drill], figures: Figures
) -> None:
    away, flaps = (20, 15) if is_short() else (60, 30)
    with Receiver() as receiver, Proxy(receiver.port) as way, drill(clients=6, senders=3, meetings=3) as running:
        hooks = Hooks.of(running, f"http://127.0.0.1:{way.port}/hook")
        running.talk(3)
        running.crowd.wait_until_acked(9)
        way.refuse()
        for number in range(2):
            pause(away / 2)
            _kill(site, number)
        way.heal()
        back = time.monotonic()
        said = len(hooks.said())
        receiver.fault = flapping(0.3, seed=16)
        for number in range(3):
            pause(flaps / 3)
            _kill(site, number)
        receiver.fault = lambda _: False
        running.judge()
        took = hooks.wait_until_told(receiver.arrivals, 120)
        told = hooks.judge(receiver.arrivals)
        figures(
            "P16",
            f"webhook receiver away for {away * SPEED // 60} min, then failing 30 % for {flaps * SPEED / 60:g} min, 5 "
            f"workers killed (clock {SPEED} times as fast)",
            "every event ≥ 1 time, in order per meeting, signature valid, the same id when it comes again",
            events=told.events,
            said_before_it_was_back=said,
            requests=told.requests,
            came_again=told.again,
            lost=0,
            out_of_order=0,
            badly_signed=0,
            all_told_after=took,
            last_after_it_was_back=max(each.moment for each in receiver.arrivals) - back,
        )
        assert told.requests > told.events  # it did refuse


def _kill(site: Site, number: int) -> None:
    name = f"worker{number % 2}"
    site.kill(name)
    site.restart(name)
