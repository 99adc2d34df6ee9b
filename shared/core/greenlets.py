"""Greenlets: whether gevent runs this process, for the few places where that makes a difference.

gevent is never imported: a process that was not patched does not have it, and shared code does not need it.
"""

import sys
from typing import Any


def patched_hub() -> Any:
    """Return the module gevent.hub where gevent has patched this process, else None."""
    monkey = sys.modules.get("gevent.monkey")
    return sys.modules["gevent.hub"] if monkey is not None and monkey.is_module_patched("select") else None
