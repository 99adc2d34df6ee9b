"""Ends the programs of a launcher that was killed, when they do not end by themselves.

The kernel tells children of a dead launcher to stop (dev/process.py), but a worker would first finish its task and a
web server its requests. This process reads from the launcher, as lines `+PID` and `-PID`, which sessions exist. The
end of the input means that the launcher is gone: whatever is then left of them after GRACE_SECONDS is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 4.0


class Guardian:
    """The launcher's end of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def guard(self, session: int) -> None:
        """Tell it of a new session."""
        self._tell(f"+{session}")

    def release(self, session: int) -> None:
        """Tell it that a session has ended; its number may soon belong to somebody else."""
        self._tell(f"-{session}")

    def dismiss(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # somebody killed it; the launcher still works
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


def main() -> None:
    """Wait for the end of the input, then for the sessions to end, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        change = sessions.add if line[0] == "+" else sessions.discard
        change(int(line[1:]))
    if sys.platform != "linux":  # no kernel has told them yet
        _signal_all(sessions, signal.SIGTERM)
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until and _signal_all(sessions, 0):
        time.sleep(0.1)
    _signal_all(sessions, signal.SIGKILL)


def _signal_all(sessions: set[int], number: int) -> bool:
    """Send a signal to all processes of the sessions; tell whether there were any."""
    reached = False
    for session in sessions:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(session, number)
            reached = True
    return reached


if __name__ == "__main__":
    main()
