"""The figures of fault tests: each test prints one line, and `python -m tests.faults.report` puts the last run of each
into the table of docs/operate/reliability.md.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "var" / "faults" / "results.jsonl"
PAGE = PROJECT / "docs" / "operate" / "reliability.md"
BEGIN, END = "<!-- figures: made by `python -m tests.faults.report` -->", "<!-- end of figures -->"
HEAD = "| No. | What breaks | Promised | Measured |"


class Figures:
    """What one test measured. `PARLEY_FAULTS_SHORT` marks a run that was shortened."""

    def __init__(self, test: str) -> None:
        self._test = test

    def __call__(self, number: str, what: str, promised: str, **measured: object) -> None:
        """Print and keep a line: the number in the catalogue, what was broken, what is promised, what was seen."""
        said = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in measured.items())
        print(f"\n{number} {what}: {said}")
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        line = {
            "number": number,
            "what": what,
            "promised": promised,
            "measured": said,
            "at": datetime.now(UTC).strftime("%Y-%m-%d"),
            "short": is_short(),
        }
        with RESULTS.open("a") as results:
            results.write(json.dumps(line) + "\n")


def is_short() -> bool:
    """Tell whether long tests are to be shortened."""
    return os.environ.get("PARLEY_FAULTS_SHORT", "") not in ("", "0")


def _short(value: object) -> str:
    if isinstance(value, dict):
        return " · ".join(f"{name}: {each}" for name, each in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"
    return str(value)


Key = tuple[str, str]  # the number in the catalogue, and what breaks


def table(results: Iterable[Mapping[str, Any]], before: str) -> str:
    """Return the table: the last figures of each test, in the order of their numbers.

    `before` is the table so far: what was not measured this time stays as it was. Quick tests are not told of.
    """
    lines = _lines_of(before)
    days = set(re.findall(r"\d{4}-\d\d-\d\d", before.partition(HEAD)[0]))
    for each in results:
        if "(quick)" in each["what"]:
            continue
        cells = (each["number"], each["what"], each["promised"], each["measured"])
        lines[each["number"], each["what"]] = f"| {' | '.join(cells)}{' (shortened run)' if each['short'] else ''} |"
        days.add(each["at"])
    when = " to ".join(sorted({min(days), max(days)}))
    said = (
        f"Measured on {when} by the tests of `make faults`, everything on one machine of {os.cpu_count()} cores: "
        f"web processes, workers, beats, PostgreSQL, Valkey and all clients. "
        f"{platform.system()}, Python {platform.python_version()}."
    )
    return "\n".join([said, "", HEAD, "| --- | --- | --- | --- |", *(lines[key] for key in sorted(lines, key=_order))])


def _lines_of(before: str) -> dict[Key, str]:
    rows = [line for line in before.partition(HEAD)[2].splitlines() if line.startswith("| ") and " --- " not in line]
    return {(cells[1].strip(), cells[2].strip()): row for row in rows for cells in [row.split("|")]}


def _order(key: Key) -> tuple[str, int, str]:
    number, what = key
    return number[0], int("".join(filter(str.isdigit, number))), what


def main() -> int:
    """Write the table into the page."""
    if not RESULTS.exists():
        print("There are no figures yet: make faults")
        return 1
    before, _, rest = PAGE.read_text().partition(BEGIN)
    figures, _, after = rest.partition(END)
    results = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(results, figures)}\n\n{END}{after}")
    print(PAGE.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
