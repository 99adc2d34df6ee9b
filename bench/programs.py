"""The two C programs of the benchmark: compiled when their source is newer than they are."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "load"
FLAGS = ("-O2", "-Wall", "-Wextra", "-std=gnu11")


class NoCompiler(Exception):
    """There is no C compiler on this machine."""

    def __init__(self) -> None:
        super().__init__(
            "The benchmark's load client and floor are C programs, and no C compiler was found.\n"
            "Install one (on Debian and Ubuntu: apt install gcc libc6-dev), or name yours: CC=clang make bench.\n"
            "Nothing else of the project needs it."
        )


def build(name: str, into: Path) -> Path:
    """Compile `load/<name>.c` unless that was done before. Raises NoCompiler, CalledProcessError."""
    source, program = SOURCES / f"{name}.c", into / name
    newest = max(file.stat().st_mtime for file in (source, *SOURCES.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler
    into.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, *FLAGS, "-o", str(program), str(source)], check=True)
    return program
