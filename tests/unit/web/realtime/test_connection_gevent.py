"""Reading a socket under gevent: who always has something to say leaves the others their turn (P10, S70)."""

import pytest

from tests.factories.patched import run_patched

pytestmark = pytest.mark.once

SOON_SECONDS = 30.0

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import gevent, socket
from shared.identity.actor import Actor
from web.realtime.connection import Connection

ours, theirs = socket.socketpair()
connection = Connection("c", "m", "p", Actor(name=""), ours, address="", expires_at=0.0)
assert connection._readable is not None
turns = reads = 0

def other():
    global turns
    while True:
        turns += 1
        gevent.sleep(0)

theirs.send(b"x" * 200)
gevent.spawn(other)
while reads < 100:
    assert connection.receive(1) == b"x"
    reads += 1
assert turns >= 90, turns  # one after each read

gevent.spawn_later(0.05, theirs.send, b"later")
assert connection.receive(200) == b"x" * 100
assert connection.receive(200) == b"later"  # it waits while there is nothing
gevent.spawn_later(0.05, theirs.close)
assert connection.receive(200) == b""  # and hears the end
ours, theirs = socket.socketpair()
connection = Connection("d", "m", "p", Actor(name=""), ours, address="", expires_at=0.0)
gevent.spawn_later(0.05, ours.close)
assert connection.receive(200) == b""  # also where the socket is closed on this side
ours, theirs = socket.socketpair()

# Who works and gives way lets those run that wait for a socket, at once and not after fifty turns.
from shared.core.greenlets import give_way
heard = []
gevent.spawn(lambda: heard.append(ours.recv(10)))
give_way()
theirs.send(b"now")
for _ in range(3):
    give_way()
assert heard == [b"now"], heard
print("good")
"""


def test_p10_each_read_gives_way_and_waiting_ends_with_the_connection() -> None:
    assert run_patched(PROGRAM, seconds=SOON_SECONDS) == "good"
