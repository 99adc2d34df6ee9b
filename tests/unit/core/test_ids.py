"""Identifiers."""

import time
from collections import Counter

import pytest

from shared.core.ids import LENGTH, is_id, new_id

pytestmark = pytest.mark.once


def test_a_new_id_has_the_form_of_an_id():
    made = new_id()
    assert len(made) == LENGTH
    assert is_id(made)


def test_s32_a_hundred_thousand_ids_show_no_pattern_to_guess_by():
    made = [new_id()[10:] for _ in range(100_000)]
    assert len(set(made)) == len(made)
    expected = len(made) / 32
    for place in range(16):
        counts = Counter(tail[place] for tail in made)
        chi_square = (
            sum((count - expected) ** 2 / expected for count in counts.values()) + (32 - len(counts)) * expected
        )
        assert chi_square < 100, (place, counts)  # 31 degrees of freedom: a fair draw is beyond it once in 10^8


def test_ids_are_unique_also_within_a_millisecond():
    assert len({new_id() for _ in range(20_000)}) == 20_000


def test_ids_sort_by_the_time_they_were_made():
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()


def test_s25_ids_of_one_moment_do_not_tell_each_other():
    tails = {new_id()[10:] for _ in range(1000)}
    for place in range(16):
        assert len({tail[place] for tail in tails}) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "01HX3M6P2K8Z4Q7R9T1V5W0Y2",  # 25
        "01HX3M6P2K8Z4Q7R9T1V5W0Y2AB",  # 27
        "81HX3M6P2K8Z4Q7R9T1V5W0Y2A",  # beyond 128 bits
        "01hx3m6p2k8z4q7r9t1v5w0y2a",
        "01HX3M6P2K8Z4Q7R9T1V5W0YIL",
        "01HX3M6P2K8Z4Q7R9T1V5W0Y2A\n",
        "../../../../../../../etc/p",
        "{1HX3M6P2K8Z4Q7R9T1V5W0Y2}",
        "０1HX3M6P2K8Z4Q7R9T1V5W0Y2A",
        None,
        1,
        b"01HX3M6P2K8Z4Q7R9T1V5W0Y2A",
    ],
)
def test_s81_a_malformed_id_is_no_id(text: object):
    assert is_id("01HX3M6P2K8Z4Q7R9T1V5W0Y2A")
    assert not is_id(text)
