"""The bare connection to Redis: with threads and under gevent, plainly and over TLS."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dev.valkey import Valkey
from shared.realtime.wire import Wire, pack
from tests.factories.certificates import certificate
from tests.factories.patched import run_patched
from tests.fakes.tls_front import TlsFront

pytestmark = [pytest.mark.once, pytest.mark.timeout(60)]

PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys
from tests.unit.realtime import test_wire
getattr(test_wire, sys.argv[1])(sys.argv[2])
"""


@pytest.fixture(params=["plain", "tls"])
def url(request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path) -> Iterator[str]:
    """A Valkey, spoken to plainly or over TLS."""
    if request.param == "plain":
        yield valkey.url
        return
    port = int(valkey.url.rpartition(":")[2].partition("/")[0])
    with TlsFront(certificate("localhost", tmp_path), port) as front:
        yield f"rediss://localhost:{front.port}/0?ssl_cert_reqs=none"


def hears_what_is_said_and_minds_no_silence(url: str) -> None:
    """Ask, be silent, ask again; a long answer comes whole."""
    wire = Wire(url, 1.0)
    for text in (b"early", b"long" * 100_000, b"late"):
        wire.send(pack(b"ECHO", text))
        assert wire.receive(5.0) == [text]
        began = time.monotonic()
        assert wire.receive(0.05) == []
        assert 0.04 < time.monotonic() - began < 1
        assert wire.receive_now() == []
    for _ in range(5):
        wire.send(pack(b"PING"))
        time.sleep(0.05)  # each is answered by itself
    time.sleep(0.2)
    assert wire.receive_now() == [b"PONG"] * 5
    wire.close()


def gives_way_though_there_is_always_more(url: str) -> None:
    """Read without end; somebody else must get a turn meanwhile."""
    wire = Wire(url, 1.0)
    turns = 0
    is_over = False

    def count() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            time.sleep(0)

    threading.Thread(target=count, daemon=True).start()
    for _ in range(50):
        wire.send(pack(b"PING") * 10)
        before = turns
        time.sleep(0.01)
        now = turns
        assert wire.receive(1.0)
        assert turns > now > before
    is_over = True
    wire.close()


def ends_when_the_other_side_does(url: str) -> None:
    """Be hung up on while waiting."""
    wire = Wire(url, 5.0)
    wire.send(pack(b"QUIT"))
    assert wire.receive(5.0) == [b"OK"]
    with pytest.raises((redis.RedisError, OSError)):
        wire.receive(5.0)
    wire.close()


WAYS = [hears_what_is_said_and_minds_no_silence, ends_when_the_other_side_does]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_with_threads_it(way, url: str) -> None:
    way(url)


@pytest.mark.parametrize("way", [*WAYS, gives_way_though_there_is_always_more], ids=lambda way: way.__name__)
def test_under_gevent_it(way, url: str) -> None:
    run_patched(PATCHED, way.__name__, url, seconds=30)
