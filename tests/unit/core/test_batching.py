"""Batching: together when many come at once, at once when one comes alone, and nobody pays for another's fault."""

import threading
import time
from collections.abc import Sequence

import pytest

from shared.core.batching import Batcher, NotTogether
from shared.core.errors import ServiceUnavailable
from tests.unit.web.realtime.wire import wait_for


class Bench:
    """Work that can be held up: it notes its batches, and takes its answers from `answers`."""

    def __init__(self, limit: int = 64, *, fail_together: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.answers: dict[str, Exception] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.batcher = Batcher(self._work, limit, fail_together=fail_together)
        self.got: dict[str, object] = {}

    def _work(self, items: Sequence[str]) -> list[str | Exception]:
        self.batches.append(list(items))
        assert self.gate.wait(5)
        broken = self.answers.get("all")
        if broken is not None and len(items) > 1:
            raise broken
        return [self.answers.get(item, item.upper()) for item in items]

    def call(self, item: str, key: str = "k") -> None:
        try:
            self.got[item] = self.batcher.run(item, key)
        except Exception as refused:
            self.got[item] = refused

    def together(self, *items: str) -> None:
        """Have the first item worked on while the others arrive, in this order."""
        self.gate.clear()
        threads = []
        for n, item in enumerate(items):
            thread = threading.Thread(target=self.call, args=(item,))
            thread.start()
            threads.append(thread)
            if n == 0:
                wait_for(lambda: self.batches)
            else:
                wait_for(lambda n=n: len(self.batcher._waiting["k"]) == n)  # type: ignore[misc]
        self.gate.set()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()


def test_one_alone_is_served_at_once_and_leaves_nothing_behind() -> None:
    bench = Bench()
    assert bench.batcher.run("a", "k") == "A"
    assert bench.batcher.run("b", "k") == "B"
    assert (bench.batches, bench.batcher._waiting) == ([["a"], ["b"]], {})


def test_who_comes_while_one_is_worked_on_goes_together_in_order() -> None:
    bench = Bench()
    bench.together("a", "b", "c", "d")
    assert bench.batches == [["a"], ["b", "c", "d"]]
    assert bench.got == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert bench.batcher._waiting == {}


def test_a_batch_is_no_larger_than_the_limit() -> None:
    bench = Bench(limit=2)
    bench.together("a", "b", "c", "d")
    assert bench.batches == [["a"], ["b", "c"], ["d"]]


def test_other_keys_do_not_wait() -> None:
    bench = Bench()
    bench.gate.clear()
    threads = [threading.Thread(target=bench.call, args=(item, item)) for item in "ab"]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(bench.batches) == 2)
    bench.gate.set()
    for thread in threads:
        thread.join(5)
    assert bench.got == {"a": "A", "b": "B"}


def test_it_is_known_since_when_somebody_works_on_a_key() -> None:
    bench = Bench()
    bench.gate.clear()
    began = time.monotonic()
    thread = threading.Thread(target=bench.call, args=("a", "k"))
    thread.start()
    wait_for(lambda: bench.batches)
    assert began <= (bench.batcher.since("k") or 0.0) <= time.monotonic()
    assert bench.batcher.since("other") is None
    bench.gate.set()
    thread.join(5)
    assert bench.batcher.since("k") is None


def test_each_gets_its_own_refusal_and_who_cannot_go_together_goes_alone() -> None:
    bench = Bench()
    refusal = ValueError("no")
    bench.answers = {"b": refusal, "c": NotTogether()}
    bench.gate.clear()
    bench.together("a", "b", "d")
    assert bench.got == {"a": "A", "b": refusal, "d": "D"}
    tries = iter([NotTogether(), "C"])
    batcher: Batcher[str, str] = Batcher(lambda items: [next(tries) for _ in items])  # type: ignore[misc]
    assert batcher.run("c") == "C"


def test_a_fault_that_meets_all_lets_each_try_alone() -> None:
    bench = Bench()
    bench.answers = {"all": KeyError("poison"), "c": KeyError("poison")}
    bench.together("a", "b", "c", "d")
    assert bench.batches[:2] == [["a"], ["b", "c", "d"]]
    assert sorted(bench.batches[2:]) == [["b"], ["c"], ["d"]]
    assert (bench.got["b"], bench.got["d"]) == ("B", "D")
    assert isinstance(bench.got["c"], KeyError)


def test_a_database_that_is_away_is_not_asked_again_for_each() -> None:
    bench = Bench()
    bench.answers = {"all": ServiceUnavailable()}
    bench.together("a", "b", "c")
    assert bench.batches == [["a"], ["b", "c"]]
    assert isinstance(bench.got["b"], ServiceUnavailable)


def test_several_items_of_one_caller_stay_in_order_and_get_an_answer_each() -> None:
    bench = Bench(limit=2)
    refusal = ValueError("no")
    bench.answers = {"b": refusal}
    assert bench.batcher.run_all(["a", "b", "c"], "k") == ["A", refusal, "C"]
    assert bench.batches == [["a", "b", "c"]]
    bench.answers = {"all": KeyError("poison"), "c": KeyError("poison")}
    outcomes = bench.batcher.run_all(["a", "b", "c", "d"], "k")
    assert bench.batches[1:] == [["a", "b", "c", "d"], ["a"], ["b"], ["c"], ["d"]]
    assert [type(one) for one in outcomes] == [str, str, KeyError, str]


def test_what_an_item_alone_raises_reaches_its_caller() -> None:
    def work(_: Sequence[str]) -> list[str | Exception]:
        raise LookupError("a")

    with pytest.raises(LookupError):
        Batcher(work).run("a")


def test_many_callers_each_get_their_own_answer() -> None:
    bench = Bench(limit=5)
    threads = [threading.Thread(target=bench.call, args=(f"x{n}",)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert bench.got == {f"x{n}": f"X{n}" for n in range(100)}
    assert sum(map(len, bench.batches)) == 100


class Killed(BaseException):
    """As a greenlet that is killed while it works."""


def test_a_leader_that_is_killed_leaves_nobody_waiting() -> None:
    bench = Bench()
    work = bench._work

    def die_once(items: Sequence[str]) -> list[str | Exception]:
        answers = work(items)
        if items[0] == "b":
            bench.batcher._work = work
            raise Killed
        return answers

    bench.batcher._work = die_once
    threading.excepthook, told = (lambda _: None), threading.excepthook
    try:
        bench.together("a", "b", "c", "d")
    finally:
        threading.excepthook = told
    assert (bench.got["c"], bench.got["d"]) == ("C", "D")
    assert bench.batcher._waiting == {}


@pytest.mark.parametrize("together", [True, False])
def test_where_they_fail_together_who_waited_behind_one_in_vain_does_not_wait_again(together: bool) -> None:
    bench = Bench(fail_together=together)
    away = ServiceUnavailable()
    bench.answers = {"a": away}
    bench.together("a", "b", "c")
    if together:
        assert bench.got == {"a": away, "b": away, "c": away}
        assert bench.batches == [["a"]]
    else:
        assert bench.got == {"a": away, "b": "B", "c": "C"}
    assert bench.batcher._waiting == {}
    bench.answers = {}
    bench.together("d", "e")
    assert (bench.got["d"], bench.got["e"]) == ("D", "E")
