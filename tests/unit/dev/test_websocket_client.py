"""The client of demo and tests: what it must not lose."""

import base64
import hashlib
import re
import socket
import threading

import pytest

from dev.websocket_client import Socket
from web.realtime.frames import encode_text

pytestmark = pytest.mark.once

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def answer_at_once(listener: socket.socket, *frames: bytes) -> None:
    """Accept one upgrade, and send the answer and the first frames in one piece."""
    there, _ = listener.accept()
    with there:
        asked = there.recv(65536)
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", asked)
        assert key is not None
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        there.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + b"".join(frames))
        there.recv(1)


def test_frames_that_come_in_one_piece_with_the_answer_to_the_upgrade_are_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        frames = [encode_text(b'{"type":"welcome"}'), encode_text(b'{"type":"resync"}')]
        server = threading.Thread(target=answer_at_once, args=(listener, *frames))
        server.start()
        connected = Socket.open(f"http://127.0.0.1:{listener.getsockname()[1]}", "M", token="t")
        assert connected.welcome == {"type": "welcome"}
        assert connected.receive(1)["type"] == "resync"
        connected.drop()
        server.join(5)
