"""How the load client is told what to do."""

import pytest

from bench.client import Dialect, options
from bench.goals import FAN, HANDSHAKES, HOSTILE, STEADY

pytestmark = pytest.mark.once

PLAIN = Dialect("hello {n}", "hello", flood="noise")


def _value(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_a_closed_loop_has_a_window_and_no_rate() -> None:
    words = options(PLAIN, FAN)

    assert _value(words, "--window") == "8"
    assert "--rate" not in words
    assert _value(words, "--frame") == "hello {n}"


def test_an_open_loop_has_a_rate_and_no_window() -> None:
    words = options(PLAIN, STEADY)

    assert _value(words, "--rate") == "10"
    assert "--window" not in words


def test_only_a_hostile_workload_floods() -> None:
    assert _value(options(PLAIN, HOSTILE), "--flood") == "noise"
    assert _value(options(PLAIN, HOSTILE), "--slow") == "10"
    assert "--flood" not in options(PLAIN, FAN)


def test_handshakes_send_nothing() -> None:
    words = options(Dialect("x", "y", opened_by="joined", is_socketio=True), HANDSHAKES)

    assert "--frame" not in words
    assert {"--handshakes", "--socketio"} <= set(words)
    assert _value(words, "--opened-by") == "joined"
