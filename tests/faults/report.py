"""The figures of fault tests: each test prints one line, and `python -m tests.faults.report` makes the table of
docs/operate/reliability.md from the last run of each.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "var" / "faults" / "results.jsonl"
PAGE = PROJECT / "docs" / "operate" / "reliability.md"
BEGIN, END = "<!-- figures: made by `python -m tests.faults.report` -->", "<!-- end of figures -->"


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


def table() -> str:
    """Return the table of the last figures of each test, in the order of their numbers."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for line in RESULTS.read_text().splitlines():
        result = json.loads(line)
        last[result["number"], result["what"]] = result
    rows = sorted(
        last.values(), key=lambda r: (r["number"][0], int("".join(filter(str.isdigit, r["number"]))), r["what"])
    )
    lines = ["| No. | What breaks | Promised | Measured |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {r['number']} | {r['what']} | {r['promised']} | {r['measured']}{' (shortened run)' if r['short'] else ''} |"
        for r in rows
    ]
    days = sorted({r["at"] for r in rows})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    said = (
        f"Measured on {when} by the tests of `make faults`, everything on one machine of {os.cpu_count()} cores: "
        f"web processes, workers, beats, PostgreSQL, Valkey and all clients. "
        f"{platform.system()}, Python {platform.python_version()}."
    )
    return "\n".join([said, "", *lines])


def main() -> int:
    """Write the table into the page."""
    if not RESULTS.exists():
        print("There are no figures yet: make faults")
        return 1
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")
    print(PAGE.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
