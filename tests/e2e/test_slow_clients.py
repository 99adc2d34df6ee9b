"""Clients that never finish what they began to say hold up nobody (S117).

In production nginx waits for them (docker/nginx.conf); here the web process has to bear it by itself.
"""

import socket
import time
from contextlib import ExitStack

import pytest

from dev.http_client import Api
from tests.e2e.room import ask, furnish
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)

SLOW_CLIENTS = 200
SECONDS = 0.3
BEGINNINGS = {
    "header": b"GET /healthz HTTP/1.1\r\nHost: slow\r\nX-Slow: ",
    "body": b"POST /api/v1/auth/login HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
    b'Content-Length: 1000\r\n\r\n{"email": "',
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_s117_two_hundred_slow_clients_hold_up_nobody(stack: Stack, beginning: bytes) -> None:
    room = furnish(stack, "Ada")
    api = Api(stack.url, room.people[0].token)
    at = (stack.url.split("//")[1].split(":")[0], stack.ports[0])
    with room.open(0) as hers, ExitStack() as slow:
        held = [slow.enter_context(socket.create_connection(at, timeout=5)) for _ in range(SLOW_CLIENTS)]
        for connection in held:
            connection.sendall(beginning)
        time.sleep(0.2)
        took = []
        for round_ in range(100):
            if round_ % 20 == 0:
                for connection in held:
                    connection.sendall(b"x")
            began = time.monotonic()
            assert api.get(room.path("")).status == 200
            took.append(time.monotonic() - began)
        assert ask(hers, "ping")["type"] == "ack"
    assert sorted(took)[98] <= SECONDS, sorted(took)[-5:]
