"""What a tree of processes uses: CPU time and memory, as Linux counts them in /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU: all of it to the nanosecond, and how it divides into program and kernel, to 10 ms."""

    total: float
    user: float
    kernel: float

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(self.total - earlier.total, self.user - earlier.user, self.kernel - earlier.kernel)


def tree(root: int, proc: Path = PROC) -> list[int]:
    """Return a process and all of its descendants."""
    children: dict[int, list[int]] = {}
    for status in proc.glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(_fields_behind_name(status.read_text())[1]), []).append(int(status.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_time(pids: Iterable[int], proc: Path = PROC) -> CpuTime:
    """Return the CPU time that these processes have used so far. Those that are gone count nothing."""
    total = user = kernel = 0.0
    for pid in pids:
        with suppress(OSError):
            for thread in (proc / str(pid) / "task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0]) / 1e9
            fields = _fields_behind_name((proc / str(pid) / "stat").read_text())
            user += int(fields[11]) / TICKS_PER_SECOND
            kernel += int(fields[12]) / TICKS_PER_SECOND
    return CpuTime(total, user, kernel)


def memory(pids: Iterable[int], proc: Path = PROC) -> int:
    """Return the bytes of memory that these processes hold; what several share is divided among them (PSS)."""
    kilobytes = 0
    for pid in pids:
        with suppress(OSError):
            for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes * 1024


def resident(pids: Iterable[int], proc: Path = PROC, *, peak: bool = False) -> int:
    """Return the bytes that these processes have in memory, or have had at most, each by itself (RSS)."""
    wanted, kilobytes = "VmHWM:" if peak else "VmRSS:", 0
    for pid in pids:
        with suppress(OSError):
            for line in (proc / str(pid) / "status").read_text().splitlines():
                if line.startswith(wanted):
                    kilobytes += int(line.split()[1])
    return kilobytes * 1024


def busy_seconds(proc: Path = PROC) -> float:
    """Return how long all cores together have worked since the machine started."""
    ticks = [int(word) for word in (proc / "stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_SECOND


def _fields_behind_name(status: str) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; the name before it may hold anything."""
    return status.rpartition(")")[2].split()
