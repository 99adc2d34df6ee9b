"""The collector of cycles in a process that serves: never at its own whim."""

import subprocess
import sys

import pytest

from web.realtime import garbage

pytestmark = pytest.mark.once

PROGRAM = """
import gc, threading
from types import SimpleNamespace as Some
from web.realtime import garbage

full = threading.Event()
gc.callbacks.append(lambda phase, about: about["generation"] == 2 and full.set())
engine = Some(hub=Some(connections=dict.fromkeys(range(501))))
garbage.QUIET_SECONDS = 0.05
garbage.install(Some(wsgi=Some(extensions={"parley-realtime": engine})))
assert gc.get_freeze_count() > 10_000
full.clear()
kept = [[[]] for _ in range(500_000)]
print(full.wait(0.2))
engine.hub.connections.clear()
print(full.wait(5))
"""


def test_what_is_there_is_frozen_and_full_collections_are_made_on_purpose() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert said.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("seconds", "sockets", "due"), [(60, 10, True), (60, 5000, False), (599, 501, False), (600, 5000, True)]
)
def test_a_busy_process_is_stopped_rarely(seconds: float, sockets: int, due: bool) -> None:
    assert garbage.is_due(seconds, sockets) is due
