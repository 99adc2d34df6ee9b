"""Asking what may never answer: nobody waits longer than they wish, and no second one asks meanwhile."""

import threading
import time

import pytest

from shared.core.patience import Question

pytestmark = [pytest.mark.once, pytest.mark.timeout(20)]


def test_the_answer_is_given_and_each_time_a_new_one() -> None:
    answers = iter("ab")
    question = Question("test", lambda: next(answers))

    assert [question.answer(5), question.answer(5)] == ["a", "b"]


def test_what_asking_raises_is_raised_to_who_asked_and_the_next_one_asks_anew() -> None:
    words: list[str] = []

    def ask() -> str:
        if not words:
            raise ValueError("not now")
        return words[0]

    question = Question("test", ask)
    with pytest.raises(ValueError, match="not now"):
        question.answer(5)
    words.append("yes")
    assert question.answer(5) == "yes"


def test_who_has_waited_long_enough_goes_and_whoever_comes_meanwhile_does_not_ask_again() -> None:
    asked, go_on = threading.Semaphore(0), threading.Event()

    def ask() -> str:
        asked.release()
        assert go_on.wait(10)
        return "late"

    question = Question("test", ask)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            question.answer(0.05)
        assert time.monotonic() - began < 5
    assert asked.acquire(timeout=5)
    assert not asked.acquire(blocking=False)

    go_on.set()
    assert question.answer(5) == "late"
