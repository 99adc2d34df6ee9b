"""Measuring a few things again leaves the rest of the table as it was."""

from typing import Any

import pytest

from tests.faults.report import BEGIN, END, PAGE, table

pytestmark = pytest.mark.once

BEFORE = """
Measured on 2026-11-01 to 2026-11-20 by somebody.

| No. | What breaks | Promised | Measured |
| --- | --- | --- | --- |
| F2 | it falls | once | twice 0 |
| F10 | it burns | never | 3 |
| P1 | all | lost 0 | lost 0 (shortened run) |
"""


def result(number: str, what: str, measured: str, *, short: bool = False) -> dict[str, Any]:
    return {
        "number": number,
        "what": what,
        "promised": "soon",
        "measured": measured,
        "at": "2026-11-26",
        "short": short,
    }


def test_what_was_measured_takes_the_place_of_what_was_there_and_the_rest_stays() -> None:
    results = [result("F10", "it burns", "1"), result("F10", "it burns", "2"), result("F3", "new", "1", short=True)]
    made = table([*results, result("P1", "all (quick)", "9")], BEFORE)
    assert made.startswith("Measured on 2026-11-01 to 2026-11-26 by")
    assert made.splitlines()[4:] == [
        "| F2 | it falls | once | twice 0 |",
        "| F3 | new | soon | 1 (shortened run) |",
        "| F10 | it burns | soon | 2 |",
        "| P1 | all | lost 0 | lost 0 (shortened run) |",
    ]


def test_the_page_as_it_is_comes_out_unchanged() -> None:
    figures = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert table([], figures).splitlines()[2:] == figures.splitlines()[2:]
