"""CPU and memory as /proc tells them, on a folder that looks like it."""

from pathlib import Path

import pytest

from bench import measure
from bench.measure import TICKS_PER_SECOND, CpuTime

pytestmark = pytest.mark.once


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Three processes: 10, its child 11, and a stranger."""
    _process(tmp_path, 10, parent=1, threads={10: 1_500_000_000, 12: 500_000_000}, ticks=(150, 50), pss=100)
    _process(tmp_path, 11, parent=10, threads={11: 3_000_000_000}, ticks=(0, 300), pss=50)
    _process(tmp_path, 99, parent=1, threads={99: 9_000_000_000}, ticks=(900, 0), pss=999)
    return tmp_path


def _process(proc: Path, pid: int, *, parent: int, threads: dict[int, int], ticks: tuple[int, int], pss: int) -> None:
    home = proc / str(pid)
    home.mkdir()
    fields = ["S", str(parent), *["0"] * 9, str(ticks[0]), str(ticks[1]), *["0"] * 5]
    (home / "stat").write_text(f"{pid} (a name) with ) in it) {' '.join(fields)}")
    (home / "smaps_rollup").write_text(f"00000000 [rollup]\nRss: 1 kB\nPss:   {pss} kB\nPss_Dirty: 7 kB\n")
    (home / "status").write_text("Name: x\nVmHWM:  300 kB\nVmRSS:  200 kB\n")
    for thread, nanoseconds in threads.items():
        (home / "task" / str(thread)).mkdir(parents=True)
        (home / "task" / str(thread) / "schedstat").write_text(f"{nanoseconds} 77 3\n")


def test_a_tree_is_a_process_with_its_descendants_and_nobody_else(proc: Path) -> None:
    assert measure.tree(10, proc) == [10, 11]
    assert measure.tree(99, proc) == [99]


def test_cpu_time_is_summed_over_threads_and_processes(proc: Path) -> None:
    used = measure.cpu_time([10, 11], proc)

    assert used == CpuTime(5.0, 150 / TICKS_PER_SECOND, 350 / TICKS_PER_SECOND)
    assert used - CpuTime(1.0, 0.0, 0.0) == CpuTime(4.0, used.user, used.kernel)


def test_a_process_that_is_gone_counts_nothing(proc: Path) -> None:
    assert measure.cpu_time([12345], proc) == CpuTime(0.0, 0.0, 0.0)
    assert measure.memory([12345], proc) == 0


def test_memory_is_what_the_kernel_calls_proportional(proc: Path) -> None:
    assert measure.memory([10, 11], proc) == 150 * 1024
    assert measure.resident([10, 11], proc) == 400 * 1024
    assert measure.resident([10, 11], proc, peak=True) == 600 * 1024
