"""Metrics of several processes are one page; a gauge ends with its process, also when that was killed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared.core.exposition import exposition, registry

pytestmark = pytest.mark.once

PROGRAM = """
from shared.core.metrics import JOINS, WAITING
JOINS.labels("admitted").inc(2)
WAITING.inc(3)
print("counted", flush=True)
input()
"""


@pytest.fixture
def begin(project: Path, tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Begin a process that counts in the folder `metrics`, which need not be there, and waits."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> "subprocess.Popen[bytes]":
        environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
        command = [sys.executable, "-c", PROGRAM]
        process = subprocess.Popen(command, cwd=project, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_processes_are_added_up_and_gauges_of_a_killed_one_no_longer_count(
    begin: Callable[[], "subprocess.Popen[bytes]"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = begin(), begin()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))

    def figures() -> tuple[float | None, float | None]:
        found = registry()
        joins = found.get_sample_value("parley_joins_total", {"outcome": "admitted"})
        return joins, found.get_sample_value("parley_requests_waiting")

    assert figures() == (4, 6)
    one.kill()
    one.wait()
    assert figures() == (4, 3)
    assert b'parley_joins_total{outcome="admitted"} 4.0' in exposition()


def test_a_process_alone_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)

    assert registry() is REGISTRY
