"""Greenlets: whether gevent runs this process, and giving way, for the few places where that makes a difference.

gevent is never imported: a process that was not patched does not have it, and shared code does not need it.
"""

import sys
import time
from typing import Any

_MOMENT_SECONDS = 1e-6


def patched_hub() -> Any:
    """Return the module gevent.hub where gevent has patched this process, else None."""
    monkey = sys.modules.get("gevent.monkey")
    return sys.modules["gevent.hub"] if monkey is not None and monkey.is_module_patched("select") else None


def await_readable(watcher: Any, seconds: float) -> None:
    """Under gevent: wait until the socket of a watcher has something, at most so long. Gives way to others in any case.

    Raises OSError when the socket is closed under who waits.
    """
    timeout = sys.modules["gevent.timeout"].Timeout.start_new(seconds)
    try:
        sys.modules["gevent.hub"].get_hub().wait(watcher)
    except BaseException as over:
        if over is not timeout:
            raise
    finally:
        timeout.close()


def give_way() -> None:
    """Let all others run who can, also those whose sockets have something for them.

    Under gevent a sleep of 0 seconds is a turn for who is ready already, and sockets are looked at after fifty such
    turns only: who works 5 ms between two of them would keep a database's answer waiting for a quarter of a second.
    """
    time.sleep(_MOMENT_SECONDS)
