"""Single flight: one call for all who want the same, and nobody depends on whoever makes it."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.core import single_flight
from shared.core.single_flight import SingleFlight
from tests.unit.web.realtime.wire import wait_for

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up because this machine is busy."""
    monkeypatch.setattr(single_flight, "WAIT_SECONDS", 10.0)


class Runway:
    """Work that can be held up: it counts its calls, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.flights: SingleFlight[str] = SingleFlight()
        self.calls = 0
        self.failures: list[BaseException] = []
        self.gate = threading.Event()
        self.got: list[object] = []
        self._threads: list[threading.Thread] = []

    def _work(self) -> str:
        self.calls += 1
        number = self.calls
        if number == 1:
            assert self.gate.wait(5)
        if self.failures:
            raise self.failures.pop()
        return f"call {number}"

    def _call(self) -> None:
        try:
            self.got.append(self.flights.run("k", self._work))
        except BaseException as broken:
            self.got.append(broken)

    def gather(self, count: int) -> None:
        """Have one under way and the others wait for it."""
        for n in range(count):
            thread = threading.Thread(target=self._call)
            thread.start()
            self._threads.append(thread)
            if n == 0:
                wait_for(lambda: self.calls)
        landed = self.flights._flights["k"].landed
        wait_for(lambda: len(landed._cond._waiters) == count - 1)  # type: ignore[attr-defined]

    def land(self) -> None:
        """Let the first one end, and everybody come home."""
        self.gate.set()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        assert self.flights._flights == {}


def test_one_after_the_other_each_calls() -> None:
    runway = Runway()
    runway.gate.set()
    assert [runway.flights.run("k", runway._work) for _ in range(2)] == ["call 1", "call 2"]
    assert runway.flights._flights == {}


def test_of_many_at_once_one_calls_and_all_have_the_result() -> None:
    runway = Runway()
    runway.gather(20)
    runway.land()
    assert (runway.calls, runway.got) == (1, ["call 1"] * 20)


@pytest.mark.parametrize("trouble", [RuntimeError("broken"), SystemExit()])
def test_who_waits_for_one_that_fails_or_is_killed_calls_alone(trouble: BaseException) -> None:
    runway = Runway()
    runway.failures = [trouble]
    runway.gather(5)
    runway.land()
    assert runway.got.count(trouble) == 1
    assert sorted(str(each) for each in runway.got if each is not trouble) == [f"call {n}" for n in range(2, 6)]


def test_who_waits_too_long_calls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    runway = Runway()
    runway.gather(1)
    monkeypatch.setattr(single_flight, "WAIT_SECONDS", 0.05)
    began = time.monotonic()
    assert runway.flights.run("k", runway._work) == "call 2"
    assert time.monotonic() - began >= 0.05
    runway.land()
    assert runway.got == ["call 1"]


def test_other_keys_do_not_wait() -> None:
    runway = Runway()
    runway.gather(1)
    assert runway.flights.run("another", lambda: "at once") == "at once"
    runway.land()


def test_what_came_to_nothing_is_a_result_too() -> None:
    flights: SingleFlight[None] = SingleFlight()
    assert flights.run("k", lambda: None) is None


UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent
from shared.core.single_flight import SingleFlight
flights, calls = SingleFlight(), []
def work():
    calls.append(1)
    gevent.sleep(0.05)
    return "it"
got = [each.get() for each in gevent.joinall([gevent.spawn(flights.run, "k", work) for _ in range(50)])]
assert (len(calls), got) == (1, ["it"] * 50), (len(calls), got)
"""


def test_it_is_the_same_between_greenlets(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT], cwd=project, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
