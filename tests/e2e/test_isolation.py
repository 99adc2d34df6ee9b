"""A slow or hostile client harms only itself (P10), and there is an end to how many may come (S48, S69)."""

import contextlib
import json
import socket as sockets
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import select

from dev.websocket_client import Closed, Socket
from shared.core import ledger
from shared.core.settings import Settings
from shared.runtime import Runtime
from tests.e2e.room import Room, ask, eventually, furnish, hear, quiet, refusal
from tests.stack import Stack

pytestmark = [pytest.mark.timeout(90), pytest.mark.once]  # what a socket does to others is the same on both databases

MANY = "1000000/minute"


@pytest.fixture(scope="module")
def strict(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web process that counts the frames of a connection, and takes few connections."""
    ours = replace(
        settings,
        ratelimit_enabled=True,
        ratelimit_websocket=300,
        ratelimit_chat=MANY,
        ratelimit_status=MANY,
        ratelimit_meetings=MANY,
        ratelimit_participants=MANY,
        ratelimit_register=MANY,
        ratelimit_reads=MANY,
        ws_max_connections=14,
        ws_max_per_address=12,
        trusted_proxies=1,
    )
    with Stack(ours, tmp_path_factory.mktemp("strict"), with_workers=False) as running:
        yield running


def memory_of(stack: Stack) -> int:
    """Return the resident bytes of the largest process of a web server."""
    arbiter = stack.processes["web0"].pid
    children = Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()
    return max(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children) * 4096


def deaf(room: Room, who: int) -> Socket:
    """Open somebody's socket that takes little and will not be read."""
    there = room.open(who)
    there._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    return there


def delays(room: Room, hers: Socket, his: Socket, count: int, text: str = "") -> list[float]:
    """Let Ada speak and Bob hear; return how long each took."""
    took = []
    for n in range(count):
        began = time.monotonic()
        assert ask(hers, "chat", {"content": f"{n} {text}"})["type"] == "ack"
        hear(his, f"{n} {text}")
        took.append(time.monotonic() - began)
    return took


def test_p10_m21_who_never_reads_is_cut_off_and_the_others_do_not_notice(stack: Stack, runtime: Runtime) -> None:
    room = furnish(stack, "Ada", "Bob", "Cid", "Dan")
    heavy = "😀" * 3900  # 16 kB
    with room.open(0) as hers, room.open(1) as his:
        before = memory_of(stack)
        idle = [deaf(room, who) for who in (2, 3, 2, 3)]
        took = []
        for turn in range(32):  # 10 MB to each, more than the kernel and an outbox hold
            for n in range(20):
                hers.send("chat", {"content": f"{turn}.{n} {heavy}"})
            hear(his, f"{turn}.19 {heavy}")
            hear(hers, f"{turn}.19 {heavy}")
            took += delays(room, hers, his, 3)
        assert sorted(took)[int(len(took) * 0.95)] < 0.25, took
        assert memory_of(stack) - before < 50_000_000
        # What the kernel holds for them would take long to read; that they are cut off shows in the ledger.
        eventually(lambda: reconnecting(runtime, room) == {room.id_of(2), room.id_of(3)}, 10)
        for socket in idle:
            socket.drop()
        assert ask(hers, "chat", {"content": "unharmed"})["type"] == "ack"
        hear(his, "unharmed")


def reconnecting(runtime: Runtime, room: Room) -> set[str]:
    """Return who lost the last connection, as the ledger tells it."""
    told = ledger.events.c
    with runtime.reading() as tx:
        query = select(told.data).where(told.meeting_id == room.meeting_id, told.type == "connection_status")
        data = [json.loads(row.data) for row in tx.all(query)]
    return {told["participant_id"] for told in data if told["status"] == "reconnecting"}


def end_of(socket: Socket) -> int:
    """Read what there is; return how the server ended it."""
    with contextlib.suppress(TimeoutError):
        return socket.closed(10).code
    raise AssertionError("still open")


def flood(socket: Socket, data: bytes, stop: Event) -> None:
    """Send the same bytes as fast as they are taken, reading nothing."""
    with contextlib.suppress(OSError):
        socket._socket.settimeout(1)
        while not stop.is_set():
            socket._socket.sendall(data)


def frames(opcode: int, payload: bytes, count: int) -> bytes:
    """Return many small client frames in one piece."""
    return (struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload)) + b"\0\0\0\0" + payload) * count


@pytest.mark.parametrize(
    "data",
    [
        frames(1, b'{"type":"ping"}', 2000),
        frames(1, b'{"type":"typing","data":{"is_typing":true}}', 1000),
        frames(1, b'{"type":"nothing"}', 2000),
        frames(9, b"", 5000),
        frames(10, b"", 5000),
        frames(0, b"", 5000),
    ],
    ids=["pings of ours", "typing", "refused frames", "protocol pings", "unasked pongs", "fragments"],
)
def test_p10_s70_m24_a_flooder_is_cut_off_and_the_others_do_not_notice(strict: Stack, data: bytes) -> None:
    room = furnish(strict, "Ada", "Bob", "Mal")
    with room.open(0) as hers, room.open(1) as his:
        assert max(delays(room, hers, his, 10)) < 1.0
        before = memory_of(strict)
        mallory = room.open(2)
        stop = Event()
        flooding = Thread(target=flood, args=(mallory, data, stop))
        flooding.start()
        took = delays(room, hers, his, 60)
        flooding.join(10)
        ended = not flooding.is_alive()
        stop.set()
        flooding.join()
        assert ended, "the flooder was not cut off within 10 s"
        assert sorted(took)[int(len(took) * 0.95)] < 0.25, sorted(took)[-5:]
        assert memory_of(strict) - before < 50_000_000
        assert end_of(mallory) in (4429, 1002, 1006)  # what is sent into a cut line resets it
        assert not [f for f in quiet(his.drain(0.1)) if f["type"] not in ("chat", "typing")]
        mallory.drop()


def test_over_the_limit_each_frame_is_refused_with_the_limit_and_the_socket_stays(strict: Stack) -> None:
    room = furnish(strict, "Ada", "Bob")
    with room.open(0) as hers, room.open(1) as his:
        for _ in range(305):
            his.send_text('{"type":"ping"}')
        refused = his.until("error")
        assert refused["code"] == "RATE_LIMIT_EXCEEDED"
        assert set(refused["details"]) == {"limit", "window", "reset_at"}
        time.sleep(0.5)  # two tokens
        his.drain(0.1)
        assert ask(his, "chat", {"content": "slower now"})["type"] == "ack"
        hear(hers, "slower now")


def from_address(room: Room, who: int, address: str, **options: Any) -> Socket:
    """Open a socket that the proxy says comes from an address."""
    return room.open(who, headers={"X-Forwarded-For": address}, **options)


def test_s69_no_more_connections_than_configured_from_one_address_and_in_all(strict: Stack) -> None:
    room = furnish(strict, "Ada", *(f"P{n}" for n in range(5)))
    with contextlib.ExitStack() as held:
        opened = [held.enter_context(from_address(room, n % 3, "203.0.113.1")) for n in range(12)]
        refused = refusal(room, 3, headers={"X-Forwarded-For": "203.0.113.1"})
        assert (refused.answer.status, refused.answer.code) == (429, "RATE_LIMIT_EXCEEDED")
        assert int(refused.answer.headers["retry-after"]) > 0
        for n in range(2):
            opened.append(held.enter_context(from_address(room, 4, f"203.0.113.{n + 2}")))
        refused = refusal(room, 5, headers={"X-Forwarded-For": "203.0.113.9"})
        assert (refused.answer.status, refused.answer.code) == (503, "SERVICE_UNAVAILABLE")
        assert room.people[0].get(room.path("/status")).status == 200  # REST is not concerned
        for socket in opened:
            assert ask(socket, "ping")["type"] == "ack"
        opened[0].close()
        deadline = time.monotonic() + 5
        while True:  # a place is free again
            try:
                held.enter_context(from_address(room, 5, "203.0.113.9"))
                break
            except Exception:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_p10_ninety_abrupt_ends_leave_nothing_behind(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    arbiter = stack.processes["web0"].pid
    worker = Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()[0]

    def open_files() -> int:
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    with room.open(0) as hers:
        before = open_files()
        for n in range(90):
            there = room.open(1)
            if n % 3 == 0:
                there.send_bytes(b"\xff\xff")
            if n % 3 == 1:
                with contextlib.suppress(Closed):
                    there.close()
            there.drop()
        deadline = time.monotonic() + 10
        while open_files() > before + 10:
            assert time.monotonic() < deadline, (before, open_files())
            time.sleep(0.2)
        hers.drain(0.1)
        assert ask(hers, "chat", {"content": "fine"})["type"] == "ack"
