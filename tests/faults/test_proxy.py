"""The proxy does to a connection what it says."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from dev.process import LOOPBACK
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.once, pytest.mark.timeout(20)]


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of a server that says what it hears."""
    listener = socket.create_server((LOOPBACK, 0))

    def talk(one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            while heard := one.recv(65_536):
                one.sendall(heard)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = listener.accept()
                threading.Thread(target=talk, args=(one,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as running:
        yield running


@pytest.fixture
def caller(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, proxy.port), timeout=5) as connection:
        yield connection


def ask(caller: socket.socket, said: bytes = b"hello", seconds: float = 5.0) -> float:
    """Say something and wait until all of it came back; return how long that took."""
    began = time.monotonic()
    caller.settimeout(seconds)
    caller.sendall(said)
    heard = b""
    while len(heard) < len(said):
        piece = caller.recv(65_536)
        if not piece:
            raise ConnectionError
        heard += piece
    assert heard == said
    return time.monotonic() - began


def test_bytes_pass_unchanged_and_soon(caller: socket.socket) -> None:
    assert ask(caller, bytes(range(256)) * 2000) < 1
    assert ask(caller) < 0.2


def test_the_end_of_one_direction_is_passed_on_and_the_other_goes_on(caller: socket.socket) -> None:
    caller.sendall(b"last words")
    caller.shutdown(socket.SHUT_WR)
    assert caller.recv(100) == b"last words"
    assert caller.recv(100) == b""


def test_a_delay_holds_each_way_and_adds_up_to_a_round_trip(proxy: Proxy, caller: socket.socket) -> None:
    proxy.delay(0.1)
    assert 0.2 <= ask(caller) < 0.4


def test_jitter_keeps_the_order(proxy: Proxy, caller: socket.socket) -> None:
    proxy.delay(0.01, jitter=0.05)
    said = b"".join(b"%04d" % n for n in range(100))
    for start in range(0, len(said), 4):
        caller.sendall(said[start : start + 4])
    heard = b""
    while len(heard) < len(said):
        heard += caller.recv(65_536)
    assert heard == said


def test_a_throttle_makes_a_second_of_what_takes_a_second(proxy: Proxy, caller: socket.socket) -> None:
    proxy.throttle(20_000)
    assert 0.7 <= ask(caller, b"x" * 20_000) < 3


def test_a_black_hole_keeps_the_connection_and_says_nothing_until_it_heals(proxy: Proxy, caller: socket.socket) -> None:
    proxy.blackhole()
    with pytest.raises(TimeoutError):
        ask(caller, seconds=0.3)
    with socket.create_connection((LOOPBACK, proxy.port), timeout=0.3) as another:
        another.sendall(b"anybody?")
        with pytest.raises(TimeoutError):
            another.recv(10)
    proxy.heal()
    assert caller.recv(100) == b"hello"
    assert ask(caller) < 0.5


@pytest.mark.parametrize(("silent", "heard"), [("up", b"ask"), ("down", b"ask")])
def test_half_of_a_connection_can_be_silent(proxy: Proxy, caller: socket.socket, silent: str, heard: bytes) -> None:
    proxy.half(silent)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        ask(caller, b"ask", seconds=0.2)
    proxy.heal()
    assert caller.recv(10) == heard


def test_a_reset_cuts_what_is_open_and_serves_what_comes(proxy: Proxy, caller: socket.socket) -> None:
    ask(caller)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        ask(caller)
    with socket.create_connection((LOOPBACK, proxy.port), timeout=5) as another:
        assert ask(another) < 0.5


def test_who_is_refused_is_served_again_after_healing(proxy: Proxy, caller: socket.socket) -> None:
    ask(caller)
    proxy.refuse()
    with pytest.raises(ConnectionError):
        ask(caller)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, proxy.port), timeout=1)
    proxy.heal()
    with socket.create_connection((LOOPBACK, proxy.port), timeout=5) as another:
        assert ask(another) < 0.5


def test_a_server_that_is_not_there_looks_like_a_lost_connection() -> None:
    with socket.create_server((LOOPBACK, 0)) as gone:
        port = gone.getsockname()[1]
    with Proxy(port) as proxy, socket.create_connection((LOOPBACK, proxy.port), timeout=5) as caller:
        assert _hears_the_end(caller)


def _hears_the_end(caller: socket.socket) -> bool:
    try:
        return caller.recv(10) == b""
    except ConnectionError:
        return True
