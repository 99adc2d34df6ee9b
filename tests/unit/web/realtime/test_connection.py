"""One WebSocket's writing side (M21 to M24): whole frames in order, never blocking, bounded, and an end to patience."""

import socket
import threading
import time

import pytest

from shared.realtime import close_codes
from tests.unit.web.realtime.wire import Peer, wait_for
from web.realtime import connection as module
from web.realtime.frames import encode_text

pytestmark = pytest.mark.once


def text(n: int, size: int = 10) -> bytes:
    """Return a frame with a number in it."""
    return encode_text(b'{"n":%d,"x":"%s"}' % (n, b"x" * size))


def test_what_is_written_arrives_at_once_and_in_order() -> None:
    with Peer() as peer:
        for n in range(5):
            peer.connection.write(text(n))
        assert [m["n"] for m in peer.read()] == [0, 1, 2, 3, 4]
        assert peer.connection.has_room()


def test_m22_m23_many_writers_and_a_slow_reader_make_no_frame_torn_and_none_lost() -> None:
    with Peer(buffer=4096) as peer:

        def write(start: int) -> None:
            for n in range(start, start + 40):
                peer.connection.write(text(n, 2000))

        writers = [threading.Thread(target=write, args=(start,)) for start in (0, 100, 200, 300)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        numbers = [m["n"] for m in peer.read(0.5)]
        assert sorted(numbers) == [start + n for start in (0, 100, 200, 300) for n in range(40)]
        for start in (0, 100, 200, 300):
            assert [n for n in numbers if n // 100 == start // 100] == list(range(start, start + 40))
        wait_for(peer.connection.has_room)
        peer.connection.write(text(999))  # the outbox is empty again, and a new one can begin
        assert [m["n"] for m in peer.read()] == [999]


def test_p10_m21_writing_to_who_never_reads_blocks_nobody_and_ends_with_4429_behind_the_frame_that_was_begun() -> None:
    with Peer(buffer=4096) as peer:
        began = time.monotonic()
        for n in range(100):
            peer.connection.write(text(n, 20_000))
        assert time.monotonic() - began < 0.5
        assert peer.connection.close_code == close_codes.TOO_FAST_OR_SLOW
        assert not peer.connection._outbox_bytes > module.OUTBOX_LIMIT_BYTES
        numbers = [m["n"] for m in peer.read(0.3)]
        assert numbers == list(range(len(numbers)))
        assert peer.close_code == 4429
        peer.connection.write(text(1000))
        assert peer.read() == []


def test_who_takes_nothing_for_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_DEADLINE_SECONDS", 0.2)
    with Peer(buffer=4096) as peer:
        peer.connection.write(text(0, 100_000))
        assert not peer.connection.closing_since
        wait_for(lambda: peer.connection.closing_since is not None, 2)
        assert peer.connection.close_code == close_codes.TOO_FAST_OR_SLOW
        assert peer.connection.receive(10) == b""


def test_a_close_frame_stands_behind_what_was_written_and_nothing_behind_it() -> None:
    with Peer(buffer=4096) as peer:
        for n in range(20):
            peer.connection.write(text(n, 5000))
        peer.connection.close(4510, "over")
        peer.connection.close(4401, "too late")
        peer.connection.write(text(99))
        assert [m["n"] for m in peer.read()] == list(range(20))
        assert (peer.close_code, peer.connection.close_code) == (4510, 4510)


@pytest.mark.parametrize(("code", "patience"), [(4510, module.CLOSE_GRACE_SECONDS), (close_codes.STALE, 0.0)])
def test_an_unanswered_close_frame_is_followed_by_the_end(code: int, patience: float) -> None:
    with Peer() as peer:
        now = time.monotonic()
        peer.connection.expire(now + 100)  # is not closing
        peer.connection.close(code)
        peer.connection.expire(time.monotonic() + patience - 1)
        peer.read(0.05)
        assert not peer.is_cut
        peer.connection.expire(time.monotonic() + patience + 0.1)
        peer.read()
        assert peer.is_cut


def test_a_peer_that_hung_up_is_no_error() -> None:
    with Peer() as peer:
        peer.socket.close()
        peer.connection.write(text(1))
        peer.connection.write(text(2))
        assert peer.connection.closing_since is not None
        assert peer.connection.receive(10) == b""
        peer.connection.abort()


def test_a_peer_that_hangs_up_while_frames_wait_is_no_error() -> None:
    with Peer(buffer=4096) as peer:
        peer.connection.write(text(1, 200_000))
        peer.socket.close()
        wait_for(lambda: peer.connection.closing_since is not None)


def test_a_socket_that_was_closed_under_it_ends_the_draining() -> None:
    peer = Peer(buffer=4096)
    peer.theirs.setblocking(False)
    connection = peer.connection
    connection._outbox.append(b"x")
    peer.theirs.close()
    connection._drain()
    assert connection.closing_since is not None
    peer.socket.close()


def test_receiving_notes_when_something_was_heard() -> None:
    with Peer() as peer:
        peer.connection.last_heard = 0.0
        peer.socket.sendall(b"hello")
        assert peer.connection.receive(3) == b"hel"
        assert peer.connection.last_heard > 0
        peer.connection.abort()
        assert peer.connection.receive(100) in (b"", b"lo")


def test_a_socket_error_while_receiving_is_the_end() -> None:
    with Peer() as peer:
        peer.theirs.settimeout(0.01)
        assert peer.connection.receive(10) == b""


def test_lingering_ends_with_the_peer_with_its_goodbye_or_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_GRACE_SECONDS", 0.3)
    with Peer() as peer:
        began = time.monotonic()
        peer.connection.linger()  # is not closing
        assert time.monotonic() - began < 0.1
        peer.connection.close(1000)
        peer.socket.sendall(b"still talking")
        threading.Timer(0.1, lambda: peer.socket.shutdown(socket.SHUT_RDWR)).start()
        peer.connection.linger()
        assert 0.05 < time.monotonic() - began < 0.25
    with Peer() as peer:
        peer.connection.close(1000)
        peer.connection.linger()
        assert 0.2 < time.monotonic() - peer.connection.closing_since < 1.0  # type: ignore[operator]
        peer.connection.linger()  # the time is over
        peer.theirs.close()
        peer.connection.closing_since = time.monotonic()
        peer.connection.linger()  # and so is the socket
    with Peer() as peer:
        began = time.monotonic()
        peer.connection.has_said_goodbye = True
        peer.connection.close(1000)
        peer.connection.linger()
        assert time.monotonic() - began < 0.1
