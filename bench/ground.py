"""What every measured run stands on: pinned cores, Valkey, PostgreSQL, the compiled programs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import programs
from dev.postgres import Postgres
from dev.valkey import Valkey

PROJECT = Path(__file__).resolve().parents[1]
BUILT = PROJECT / "var" / "bench"
PEER_PROGRAMS = PROJECT / "var" / "bench-venv" / "bin"
SERVER_CORE = {0}
OTHER_CORE = {1}  # load client, Valkey, PostgreSQL, and the benchmark itself


@dataclass(frozen=True, slots=True)
class Ground:
    """Where things are."""

    directory: Path
    client: Path
    floor: Path
    valkey: Valkey
    postgres: Postgres


@contextmanager
def ready() -> Iterator[Ground]:
    """Compile, start Valkey and PostgreSQL, and stop them at the end. From here on this process stays on its core."""
    client, floor = programs.build("client", BUILT), programs.build("floor", BUILT)
    with (
        tempfile.TemporaryDirectory(prefix="parley-bench-") as directory,
        on_core(OTHER_CORE),
        Valkey() as valkey,
        Postgres() as postgres,
    ):
        yield Ground(Path(directory), client, floor, valkey, postgres)


@contextmanager
def on_core(core: set[int]) -> Iterator[None]:
    """Run on these cores; so do the processes that are started meanwhile. Without that many cores: as before."""
    before = os.sched_getaffinity(0)
    if core <= before or core <= set(range(os.cpu_count() or 1)):
        os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
