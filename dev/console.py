"""Log lines of several programs in one terminal: time, aligned name, text."""

import os
import sys
import time
from collections.abc import Iterable
from typing import TextIO

WIDTH = 8
COLOURS = {"parley": "1", "valkey": "31", "migrate": "35", "web": "36", "worker": "32", "webhooks": "34", "beat": "33"}


class Console:
    """Prints to one stream; in colour when that is a terminal and NO_COLOR is unset."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def say(self, name: str, text: str) -> None:
        """Print one line of a program."""
        label = f"{name:>{WIDTH}}"
        if self._colour:
            label = f"\033[{COLOURS.get(name, '37')}m{label}\033[0m"
        self._write(f"{self.seconds:7.2f}s {label} | {text}\n")

    def block(self, lines: Iterable[str]) -> None:
        """Print lines without a label, set off by empty lines."""
        self._write("\n" + "".join(f"  {line}".rstrip() + "\n" for line in lines) + "\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass  # the terminal is gone; the programs still have to be stopped in order
