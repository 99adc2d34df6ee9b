"""The gate: who works, who waits, who is told to come back (P13, F16)."""

import random
import threading
import time
from collections.abc import Callable

import pytest

from shared.core.errors import ServiceUnavailable
from web.http import admission
from web.http.admission import LEAST_PATIENCE_SECONDS, Gate

pytestmark = pytest.mark.once

LONG = 30.0


@pytest.fixture(autouse=True)
def no_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are old from the beginning, except in the tests of young ones."""
    monkeypatch.setattr(admission, "CROWD_SECONDS", 0.0)


class Visitor(threading.Thread):
    """Somebody who goes in and stays until `go` is called. `outcome` is None, `in` or `refused`."""

    def __init__(self, gate: Gate, key: str | None, entered: list["Visitor"]) -> None:
        super().__init__(daemon=True)
        self.key = key
        self.outcome: str | None = None
        self.took = 0.0
        self._gate = gate
        self._entered = entered
        self._decided = threading.Event()
        self._may_go = threading.Event()

    def run(self) -> None:
        try:
            self._gate.enter(self.key)
        except ServiceUnavailable:
            self.outcome = "refused"
            self._decided.set()
            return
        self.outcome = "in"
        self._entered.append(self)
        self._decided.set()
        self._may_go.wait(LONG)
        self._gate.leave(self.key, self.took)

    def decided(self) -> str | None:
        """Wait until it is in or refused; return which."""
        assert self._decided.wait(LONG)
        return self.outcome

    def go(self) -> None:
        """Let it leave, and wait until it has."""
        self._may_go.set()
        self.join(LONG)


class Crowd:
    """People before a gate, who come one after the other."""

    def __init__(self, slots: int, places: int = 100, patience: float = LONG) -> None:
        self.gate = Gate(slots, places, patience)
        self.entered: list[Visitor] = []
        self._came: list[Visitor] = []

    def enters(self, key: str | None = None) -> Visitor:
        """Return somebody who is let in at once."""
        visitor = self._comes(key)
        assert visitor.decided() == "in"
        return visitor

    def waits(self, key: str | None = None) -> Visitor:
        """Return somebody who stands in line."""
        before = len(self.gate._line)
        visitor = self._comes(key)
        until(lambda: len(self.gate._line) == before + 1)
        return visitor

    def is_refused(self, key: str | None = None) -> bool:
        """Tell whether somebody more is sent away."""
        return self._comes(key).decided() == "refused"

    def _comes(self, key: str | None) -> Visitor:
        visitor = Visitor(self.gate, key, self.entered)
        self._came.append(visitor)
        visitor.start()
        return visitor

    def all_go(self) -> None:
        """Let everybody leave."""
        for visitor in self._came:
            visitor._may_go.set()
        for visitor in self._came:
            visitor.join(LONG)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def check_empty(gate: Gate, slots: int) -> None:
    """Nobody is in or in line, no key is remembered, and every slot can be had."""
    assert (gate._free, dict(gate._in), dict(gate._in_line), list(gate._line)) == (slots, {}, {}, [])


def test_as_many_as_there_are_slots_are_in_at_once() -> None:
    crowd = Crowd(slots=2, places=0)
    crowd.enters()
    crowd.enters()
    assert crowd.is_refused()
    crowd.all_go()
    check_empty(crowd.gate, 2)


def test_a_slot_goes_to_the_one_who_waits_longest_and_only_that_one_is_woken() -> None:
    crowd = Crowd(slots=1)
    inside = crowd.enters()
    line = [crowd.waits() for _ in range(5)]
    for number, following in enumerate(line):
        inside.go()
        assert following.decided() == "in"
        assert [waiter.outcome for waiter in line[number + 1 :]] == [None] * (4 - number)
        inside = following
    crowd.all_go()
    assert crowd.entered[1:] == line
    check_empty(crowd.gate, 1)


def test_nobody_takes_a_slot_between_the_one_who_leaves_and_the_one_who_waits() -> None:
    gate = Gate(1, 10, LONG)
    gate.enter(None)
    waiter = threading.Thread(target=gate.enter, args=(None,))
    waiter.start()
    until(lambda: len(gate._line) == 1)
    gate.leave(None, 0.0)
    gate.patience = 0.0  # as little as there is
    with pytest.raises(ServiceUnavailable):  # whether the waiter has woken up already or not
        gate.enter(None)
    waiter.join(LONG)
    gate.leave(None, 0.0)
    check_empty(gate, 1)


def test_a_full_line_is_refused_at_once() -> None:
    crowd = Crowd(slots=1, places=2)
    crowd.enters()
    crowd.waits()
    crowd.waits()
    assert crowd.is_refused()
    crowd.all_go()
    check_empty(crowd.gate, 1)


def test_patience_ends_and_the_refusal_says_when_to_come_back() -> None:
    gate = Gate(1, 10, 0.05)
    gate.enter(None)
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable) as refused:
        gate.enter(None)
    assert time.monotonic() - began >= 0.05
    assert refused.value.retry_after_seconds == 1
    gate.leave(None, 0.0)
    check_empty(gate, 1)


def test_who_would_be_answered_too_late_is_not_let_in() -> None:
    gate = Gate(1, 10, LONG)
    gate.enter(None)
    gate.leave(None, LONG)  # work takes all the patience there is
    gate.enter(None)
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        gate.enter(None)
    assert LEAST_PATIENCE_SECONDS <= time.monotonic() - began < LONG
    gate.leave(None, 0.0)
    check_empty(gate, 1)


def test_who_came_when_work_was_faster_is_sent_away_and_the_next_let_in() -> None:
    crowd = Crowd(slots=2)
    crowd.enters()
    slow = crowd.enters()
    early = crowd.waits()
    time.sleep(LEAST_PATIENCE_SECONDS + 0.01)
    late = crowd.waits()
    slow.took = LONG
    slow.go()
    assert (early.decided(), late.decided()) == ("refused", "in")
    crowd.all_go()
    check_empty(crowd.gate, 2)


def test_slow_work_is_forgotten_when_work_is_fast_again() -> None:
    gate = Gate(1, 10, 1.75)
    for took in (2.0, *[0.01] * 300):
        gate.enter(None)
        gate.leave(None, took)
    assert gate._patience_left() > 1.6


def test_a_crowd_is_waited_for_until_its_line_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "CROWD_SECONDS", 0.3)
    crowd = Crowd(slots=1, patience=0.05)
    first = crowd.enters(None)
    early = [crowd.waits(None) for _ in range(3)]
    time.sleep(0.15)
    first.go()  # it has waited for more than the patience of an old line
    assert early[0].decided() == "in"
    time.sleep(0.2)
    assert crowd.is_refused(None)
    early[0].go()
    assert [one.decided() for one in early[1:]] == ["refused", "refused"]
    second = crowd.enters(None)  # the line was empty: the next one is young again
    late = crowd.waits(None)
    time.sleep(0.1)
    second.go()
    assert late.decided() == "in"
    crowd.all_go()
    check_empty(crowd.gate, 1)


def test_f16_one_key_gets_half_of_the_slots_and_is_passed_by_the_others() -> None:
    crowd = Crowd(slots=4)
    first, _ = crowd.enters("locked"), crowd.enters("locked")
    stuck = crowd.waits("locked")
    free = [crowd.enters("other"), crowd.enters(None)]
    behind = crowd.waits("another")
    free[0].go()
    assert behind.decided() == "in"  # though it came after
    assert stuck.outcome is None
    first.go()
    assert stuck.decided() == "in"
    crowd.all_go()
    check_empty(crowd.gate, 4)


def test_f16_one_key_gets_three_quarters_of_the_line() -> None:
    crowd = Crowd(slots=2, places=5)
    crowd.enters("locked")
    for _ in range(4):
        crowd.waits("locked")
    assert crowd.is_refused("locked")
    crowd.enters("other")
    crowd.waits("other")
    assert crowd.is_refused(None)
    crowd.all_go()
    check_empty(crowd.gate, 2)


def test_requests_without_a_key_share_nothing() -> None:
    crowd = Crowd(slots=4, places=0)
    for _ in range(4):
        crowd.enters(None)
    crowd.all_go()
    check_empty(crowd.gate, 4)


class Killed(BaseException):
    """What a greenlet sees that is killed."""


@pytest.mark.parametrize("is_granted", [False, True])
def test_a_waiter_that_is_killed_leaves_nothing_behind(is_granted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(1, 10, LONG)
    gate.enter("m")

    def wait(_event: threading.Event, _seconds: float) -> bool:
        if is_granted:
            gate.leave("m", 0.0)
        raise Killed

    monkeypatch.setattr(threading.Event, "wait", wait)
    with pytest.raises(Killed):
        gate.enter("m")
    monkeypatch.undo()
    if not is_granted:
        gate.leave("m", 0.0)
    check_empty(gate, 1)


def test_a_slot_that_is_granted_as_patience_ends_is_used_and_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(1, 10, LONG)
    gate.enter("m")

    def wait(_event: threading.Event, _seconds: float) -> bool:
        gate.leave("m", 0.0)  # after the wait gave up, before it could say so
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    gate.enter("m")
    monkeypatch.undo()
    assert (gate._free, dict(gate._in)) == (0, {"m": 1})
    gate.leave("m", 0.0)
    check_empty(gate, 1)


def test_no_slot_is_lost_or_given_twice_where_patience_and_grants_race(monkeypatch: pytest.MonkeyPatch) -> None:
    slots, per_key = 4, 2
    monkeypatch.setattr(admission, "LEAST_PATIENCE_SECONDS", 0.0)
    gate = Gate(slots, 50, 0.001)  # about as long as somebody stays: grant and end of patience meet all the time
    inside: dict[str | None, int] = {None: 0, "a": 0, "b": 0}
    counting = threading.Lock()
    outcomes: list[bool] = []
    wrong: list[dict[str | None, int]] = []

    def come_and_go(seed: int) -> None:
        lot = random.Random(seed)
        for _ in range(100):
            key = lot.choice((None, "a", "b"))
            try:
                gate.enter(key)
            except ServiceUnavailable:
                outcomes.append(False)
                continue
            with counting:
                inside[key] += 1
                if sum(inside.values()) > slots or inside["a"] > per_key or inside["b"] > per_key:
                    wrong.append(dict(inside))
            time.sleep(lot.uniform(0, 0.002))
            with counting:
                inside[key] -= 1
            gate.leave(key, 0.0)
            outcomes.append(True)

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert wrong == []
    assert len(outcomes) == 4000
    assert set(outcomes) == {True, False}
    check_empty(gate, slots)
