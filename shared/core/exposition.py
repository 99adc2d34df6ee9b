"""Exposition: the metrics of this process, or of all that share its folder, as Prometheus reads them."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead


class LivingProcesses(MultiProcessCollector):
    """Adds up the files of a folder. Gauges of processes that were killed, and could not take theirs along, go first.

    The folder belongs to processes of one machine (of one container): others cannot be asked whether they live.
    """

    def __init__(self, registry: CollectorRegistry, folder: str) -> None:
        super().__init__(registry, folder)  # type: ignore[no-untyped-call]
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all processes."""
        for pid in {path.stem.rpartition("_")[2] for path in Path(self._folder).glob("gauge_live*.db")}:
            if not _is_alive(int(pid)):
                with suppress(FileNotFoundError):  # somebody else reads them, too
                    mark_process_dead(int(pid), self._folder)
        metrics: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return metrics


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def registry() -> CollectorRegistry:
    """Return where the metrics of this process are found, or with PROMETHEUS_MULTIPROC_DIR those of all processes."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return REGISTRY
    together = CollectorRegistry()
    LivingProcesses(together, folder)
    return together


def exposition() -> bytes:
    """Return the metrics in Prometheus' text format."""
    return generate_latest(registry())
