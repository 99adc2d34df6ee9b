"""The plan for so many people, and that the page on scaling shows what the program says."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bench.plan import FILL, SIZES, Costs, Workload, page, plan

pytestmark = pytest.mark.once

USUAL, COSTS = Workload(), Costs()


def test_the_page_shows_what_the_program_says(project: Path) -> None:
    text = (project / "docs/operate/scale.md").read_text()
    assert page([plan(people, USUAL, COSTS) for people in SIZES]) in text
    shown = {name: float(figure) for name, figure in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", text, re.MULTILINE)}
    wanted = {field.name: float(getattr(one, field.name)) for one in (USUAL, COSTS) for field in fields(one)}
    assert {name: shown.get(name) for name in wanted} == wanted


def test_ten_times_the_people_need_about_ten_times_as_much() -> None:
    small, large = (plan(people, USUAL, COSTS) for people in (10_000, 100_000))
    assert large.deliveries_per_second == pytest.approx(10 * small.deliveries_per_second)
    assert large.commits_per_second == pytest.approx(10 * small.commits_per_second)
    assert 8 * (small.ws - 1) <= large.ws - 1 <= 20 * (small.ws - 1)


def test_one_process_may_be_missing_and_no_other_is_too_full() -> None:
    quiet = Workload(chat_rate=0, signal_rate=0, rush=0)
    people = int(10 * FILL * 1000 / COSTS.socket)  # fill exactly ten cores
    assert plan(people, quiet, COSTS).ws == 11
    assert plan(people + 200, quiet, COSTS).ws == 12
    assert plan(1, quiet, COSTS).ws == 2
    assert plan(1, quiet, COSTS).rest == 1


def test_what_is_dearer_needs_more() -> None:
    before = plan(100_000, USUAL, COSTS)
    assert plan(100_000, USUAL, replace(COSTS, join=2 * COSTS.join)).rest > before.rest
    assert plan(100_000, replace(USUAL, chat_rate=5), COSTS).ws > before.ws
    assert plan(100_000, replace(USUAL, people_per_meeting=200), COSTS).ws > before.ws
