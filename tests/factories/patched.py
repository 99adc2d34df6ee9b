"""Programs in a process that gevent has patched: it is so as a whole or not at all, so each gets one of its own."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def run_patched(program: str, *arguments: str, seconds: float) -> str:
    """Run a program, which patches itself first, and return what it prints. It must end well within so many seconds."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
