"""Start child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import IO, Any

PR_SET_PDEATHSIG = 1
LOOPBACK = "127.0.0.1"

# Looked up before any fork: between fork and exec nothing may be imported or loaded.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    output: int | IO[Any] | None = subprocess.DEVNULL,
    **options: Any,
) -> "subprocess.Popen[bytes]":
    """Start `command` in a session of its own, stdout and stderr going to `output`.

    Guarantees on Linux that the kernel sends it `death_signal` when this process is gone, however it went. The kernel
    watches the *thread* that called: call from the main thread. Other options are those of subprocess.Popen.
    """
    with warnings.catch_warnings():
        # 3.12 warns of preexec_fn beside threads; ours only makes two system calls.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, and killpg reaches all grandchildren
            preexec_fn=_dying_with(os.getpid(), death_signal),
            **options,
        )


def stop(process: "subprocess.Popen[bytes]", *, by: signal.Signals, within_seconds: float) -> None:
    """Ask a spawned process to end, and kill its whole session when it has not after `within_seconds`."""
    if process.poll() is None:
        process.send_signal(by)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within_seconds)
    kill_session(process)


def kill_session(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a spawned process and of its descendants."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen on this address now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def _dying_with(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if _prctl is None:
        return None

    def tie() -> None:
        _prctl(PR_SET_PDEATHSIG, death_signal.value, 0, 0, 0)
        if os.getppid() != parent:  # the parent went before the tie was made
            os._exit(1)

    return tie
