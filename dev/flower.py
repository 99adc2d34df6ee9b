"""`make flower`: the workers of a running `make run` in a browser, for whoever is at this machine.

    python -m dev.flower      (in the project's folder, with dev/requirements.txt installed beside the runtime's)

Honours REDIS_URL as the launcher does, and FLOWER_PORT. It can stop workers, so it listens on the loopback alone.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.environment import development_environment
from dev.launcher import BROKER_FILE
from dev.process import LOOPBACK

PORT = "5555"


class NothingRuns(Exception):
    """There is no broker to look at."""


def command(environ: Mapping[str, str]) -> list[str]:
    """Return what to run."""
    listen = [f"--address={LOOPBACK}", f"--port={environ.get('FLOWER_PORT') or PORT}"]
    return [sys.executable, "-m", "celery", "-q", "-A", "celery_app", "flower", *listen]


def environment(root: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment to run it in: the launcher's, with the broker that it started. Raises NothingRuns."""
    environ = development_environment(root, given)
    if "REDIS_URL" not in environ:
        kept = root / BROKER_FILE
        if not kept.is_file():
            raise NothingRuns("Nothing runs in this folder. Start it first: make run")
        environ["REDIS_URL"] = kept.read_text()
    return environ


def main() -> int:
    """Become Flower."""
    try:
        environ = environment(Path.cwd(), os.environ)
    except NothingRuns as reason:
        print(reason)
        return 1
    words = command(environ)
    print(f"Flower: http://{LOOPBACK}:{environ.get('FLOWER_PORT') or PORT}   (Ctrl-C stops it)", flush=True)
    os.execve(words[0], words, environ)


if __name__ == "__main__":
    sys.exit(main())
