"""Work in the background: done once for several wishes, by a thread that nothing kills."""

import multiprocessing
import threading
import time
from collections.abc import Callable

import pytest

from shared.core.background import Background

pytestmark = [pytest.mark.once, pytest.mark.timeout(20)]


def wait_for(check: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not check():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_it_works_when_it_is_woken_and_once_for_those_who_ask_meanwhile() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        go_on.acquire()

    background = Background("test", work)
    background.wake()
    assert begun.acquire(timeout=5)
    for _ in range(5):
        background.wake()
    go_on.release(3)
    assert begun.acquire(timeout=5)
    assert not begun.acquire(timeout=0.1)


def test_it_is_called_again_after_the_time_it_wished_for() -> None:
    times: list[float] = []

    def work() -> float | None:
        times.append(time.monotonic())
        return 0.05 if len(times) < 3 else None

    Background("test", work).wake()
    wait_for(lambda: len(times) == 3)
    assert times[2] - times[0] >= 0.1


def test_an_error_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done: list[bool] = []

    def work() -> None:
        done.append(True)
        raise RuntimeError("broken")

    background = Background("clumsy", work)
    for count in (1, 2):
        background.wake()
        wait_for(lambda count=count: len(done) == count)  # type: ignore[misc]
    wait_for(lambda: len(caplog.records) == 2)
    assert {record.__dict__["work"] for record in caplog.records} == {"clumsy"}


def test_all_threads_together_begin_one() -> None:
    at_work: set[int] = set()
    background = Background("test", lambda: at_work.add(threading.get_ident()))
    callers = [threading.Thread(target=background.wake) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    background.wake()
    wait_for(lambda: bool(at_work))
    assert len(at_work) == 1


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    here, there = multiprocessing.Pipe()
    background = Background("test", lambda: there.send("worked"))
    background.wake()
    assert here.poll(5)
    assert here.recv() == "worked"

    def wake_and_stay() -> None:
        background.wake()
        time.sleep(1)

    child = multiprocessing.get_context("fork").Process(target=wake_and_stay)
    child.start()
    assert here.poll(5)
    assert here.recv() == "worked"
    child.join(5)
    assert child.exitcode == 0
