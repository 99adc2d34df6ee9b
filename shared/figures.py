"""Figures: what no process knows by itself, asked for when somebody scrapes (see shared.core.metrics.Figure).

Whoever scrapes waits a second at most. What does not answer is left out, and said to be down: a page of metrics that
hangs with the database would be missing when it is needed.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from shared.core import dead_letters, metrics, vitals
from shared.core.dead_letters import Standing
from shared.core.patience import Question
from shared.core.queue import depths
from shared.core.quick_redis import quick_client
from shared.runtime import Runtime
from shared.webhooks.endpoints import open_circuits

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 1.0
MOST_ROWS = 100_000  # that are counted: some 50 ms; with more of them the number says nothing new
GOOD_FOR_SECONDS = 2.0  # however many scrape, and however often


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database said. `silence` is the time since a worker signed, in seconds."""

    standings: list[Standing]
    silence: float
    open_circuits: int


class Figures(Collector):
    """Collects the figures of an installation."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = Question("figures-database", self._ask_database)
        self._redis = Question("figures-redis", self._ask_redis)
        self._collected: list[Metric] = []
        self._good_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Return the gauges. Takes PATIENCE_SECONDS for each part at most, and raises nothing."""
        if monotonic() >= self._good_until:
            self._collected = [*self._of_database(), *self._of_redis()]
            self._good_until = monotonic() + GOOD_FOR_SECONDS
        yield from self._collected

    def _ask_database(self) -> Kept:
        with self._runtime.reading() as tx:
            signed = vitals.last_seen(tx.connection, vitals.WORKER)
            return Kept(
                dead_letters.standings(tx.connection, tx.now, MOST_ROWS),
                math.inf if signed is None else max(0.0, (tx.now - signed).total_seconds()),
                open_circuits(tx),
            )

    def _ask_redis(self) -> dict[str, int]:
        with quick_client(self._runtime.settings.redis_url, timeout=PATIENCE_SECONDS / 2) as client:
            return depths(client)

    def _of_database(self) -> Iterator[Metric]:
        kept = _answer(self._database)
        yield _gauge(metrics.DATABASE_UP, {(): float(kept is not None)})
        if kept is None:
            return
        yield _gauge(metrics.OUTBOX_ROWS, _rows(kept.standings))
        yield _gauge(metrics.OUTBOX_OLDEST, {(s.lane,): s.oldest_seconds for s in kept.standings})
        yield _gauge(metrics.DEAD_LETTERS, {(s.lane,): s.dead for s in kept.standings})
        yield _gauge(metrics.WORKER_SILENCE, {(): kept.silence})
        yield _gauge(metrics.CIRCUITS_OPEN, {(): kept.open_circuits})

    def _of_redis(self) -> Iterator[Metric]:
        waiting = _answer(self._redis)
        yield _gauge(metrics.REDIS_UP, {(): float(waiting is not None)})
        if waiting is not None:
            yield _gauge(metrics.QUEUE_MESSAGES, {(lane,): count for lane, count in waiting.items()})


def _answer(question: Question[T]) -> T | None:
    try:
        return question.answer(PATIENCE_SECONDS)
    except Exception as missing:  # whatever it is, the other metrics are wanted
        log.warning("figures_missing", extra={"error": f"{type(missing).__name__}: {missing}"})
        return None


def _rows(standings: list[Standing]) -> dict[tuple[str, ...], float]:
    rows: dict[tuple[str, ...], float] = {}
    for one in standings:
        rows |= {(one.lane, "pending"): one.pending, (one.lane, "running"): one.running}
    return rows


def _gauge(figure: metrics.Figure, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = figure.family()
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
