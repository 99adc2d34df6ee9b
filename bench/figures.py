"""The arithmetic of the report: medians, ratios inside one round, and the table."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

Figures = Mapping[str, float]


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of what there is; None without anything."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def median_of(rounds: Iterable[Figures], name: str) -> float | None:
    """Return the median of one figure over the rounds that have it."""
    return median(figures.get(name) for figures in rounds)


def ratio(above: Sequence[Figures | None], below: Sequence[Figures | None], name: str) -> float | None:
    """Return the median, over the rounds that both have, of how many times `above` has of what `below` has."""
    found = []
    for one, other in zip(above, below, strict=False):
        if one is not None and other is not None and name in one and other.get(name):
            found.append(one[name] / other[name])
    return median(found)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with columns that stand below each other; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def shown(value: float | None, unit: str) -> str:
    """Return a figure as a reader wants it: three digits that matter, with its unit."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{unit}"
