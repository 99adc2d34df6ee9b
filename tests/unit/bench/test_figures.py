"""The arithmetic of the benchmark's report."""

import pytest

from bench.figures import median, median_of, ratio, shown, table

pytestmark = pytest.mark.once


def test_a_median_ignores_rounds_that_failed() -> None:
    assert median([3.0, None, 1.0, 2.0]) == 2.0
    assert median([None, None]) is None
    assert median_of([{"p99": 4.0}, {}, {"p99": 8.0}], "p99") == 6.0


def test_a_ratio_is_taken_inside_each_round_and_not_between_medians() -> None:
    peer = [{"cost": 10.0}, {"cost": 40.0}, {"cost": 12.0}]
    ours = [{"cost": 5.0}, {"cost": 10.0}, {"cost": 6.0}]

    assert ratio(peer, ours, "cost") == 2.0


def test_a_ratio_leaves_out_rounds_that_only_one_of_them_ended() -> None:
    assert ratio([None, {"cost": 9.0}], [{"cost": 1.0}, {"cost": 3.0}], "cost") == 3.0
    assert ratio([{"cost": 9.0}], [{"cost": 0.0}], "cost") is None
    assert ratio([], [{"cost": 1.0}], "cost") is None


def test_figures_are_shown_with_three_digits_that_matter() -> None:
    assert [shown(value, "") for value in (1234.5, 12.34, 1.234, 0.0, 7.0)] == ["1234", "12.3", "1.23", "0", "7"]
    assert shown(2.5, " ms") == "2.50 ms"
    assert shown(None, " ms") == "-"


def test_the_columns_of_a_table_stand_below_each_other() -> None:
    assert table([("goal", "met"), ("G11", "no"), ("G1", "yes")]).splitlines() == [
        "goal  met",
        "---------",
        "G11   no",
        "G1    yes",
    ]
