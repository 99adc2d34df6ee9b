"""Redis only wakes people up (P2, P14, F7 to F9): without it everything goes on, a second later."""

import signal
import time
from collections.abc import Iterator

import pytest

from dev.valkey import Valkey
from shared.core.settings import Settings
from tests.e2e.room import Room, ask, eventually, furnish, hear, installation, numbers
from tests.stack import Stack

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def valkey_of_ours() -> list[Valkey]:
    """Room for the Valkey server of this module's stack."""
    return []


@pytest.fixture(scope="module")
def webs(settings: Settings, valkey_of_ours: list[Valkey], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two web processes with a database and a Valkey of their own."""
    directory = tmp_path_factory.mktemp("away")
    with installation(settings, directory) as (ours, valkey):
        valkey_of_ours.append(valkey)
        with Stack(ours, directory, webs=2, with_workers=False) as running:
            yield running


def delay(room: Room, content: str, *, by_socket: bool) -> float:
    """Ada says something at the first process; return after how long Bob hears it at the second."""
    with room.open(0) as hers, room.open(1, web=1) as his:
        return spoken(room, hers, his, content, by_socket=by_socket)


def spoken(room: Room, hers, his, content: str, *, by_socket: bool) -> float:
    """Say something over an open socket or over HTTP; return after how long he hears it."""
    began = time.monotonic()
    if by_socket:
        assert ask(hers, "chat", {"content": content})["type"] == "ack"
    else:
        room.say(0, content)
    answered = time.monotonic() - began
    assert answered < 1.5, f"the sender waited for {answered:.1f} s"
    hear(his, content, 8)
    return time.monotonic() - began


@pytest.mark.parametrize("how", ["hangs", "is killed"])
def test_p2_p14_without_redis_chat_goes_on_and_arrives_by_the_catch_up(
    webs: Stack, valkey_of_ours: list[Valkey], how: str
) -> None:
    valkey = valkey_of_ours[0]
    assert valkey.process is not None
    port = valkey.port
    room = furnish(webs, "Ada", "Bob")
    start = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
    with room.open(0) as hers, room.open(1, web=1) as his:
        spoken(room, hers, his, "warm", by_socket=True)
        assert spoken(room, hers, his, "healthy", by_socket=True) < 1.0
        valkey.process.send_signal(signal.SIGSTOP if how == "hangs" else signal.SIGKILL)
        try:
            delays = [spoken(room, hers, his, f"{how} {n}", by_socket=n % 2 == 0) for n in range(6)]
            assert max(delays) < 3.0, delays
            assert sorted(delays)[-2] < 1.6, delays
            assert room.people[1].put(room.path("/participants/status"), {"is_muted": True}).status == 200
            his.until("participant_update", 3)
            newcomer = webs.person("Nia", web=1)  # who comes now is heard and hears
            assert newcomer.post(room.path("/join")).status == 200
            with webs.socket(newcomer, room.meeting_id, web=1) as theirs:
                assert ask(theirs, "chat", {"content": f"new, {how}"})["type"] == "ack"
                hear(theirs, f"new, {how}", 3)
                hear(hers, f"new, {how}", 3)
        finally:
            if how == "hangs":
                valkey.process.send_signal(signal.SIGCONT)
            else:
                valkey.process.wait()
                valkey._given_port = port
                valkey.start()
        n = iter(range(100))
        eventually(lambda: spoken(room, hers, his, f"{how} back {next(n)}", by_socket=True) < 0.3, 8, 0.3)
        heard = numbers(his.drain(0.2))
        assert heard == sorted(set(heard))
    everything = [event["seq"] for event in room.events(0, start)]
    assert everything == list(range(start + 1, start + 1 + len(everything)))
    with room.open(1, web=1, since=f"meeting:{start}") as back:
        assert numbers(back.drain())[: len(everything)] == everything


def test_p7_f8_logging_out_without_redis_closes_the_sockets_within_2_5_seconds(
    webs: Stack, valkey_of_ours: list[Valkey]
) -> None:
    valkey = valkey_of_ours[0]
    assert valkey.process is not None
    room = furnish(webs, "Ada", "Bob")
    with room.open(0) as hers, room.open(1, web=1) as his:
        spoken(room, hers, his, "warm", by_socket=True)
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            room.people[1].post("/auth/logout")
            assert his.closed(4).code == 4401
            assert time.monotonic() - began < 2.6
            room.people[0].post(room.path("/end"))
            assert hers.closed(4).code == 4510
        finally:
            valkey.process.send_signal(signal.SIGCONT)


def test_p14_a_flushed_redis_loses_nothing(webs: Stack, valkey_of_ours: list[Valkey]) -> None:
    import redis

    room = furnish(webs, "Ada", "Bob")
    with redis.Redis.from_url(valkey_of_ours[0].url) as client, room.open(0) as hers, room.open(1, web=1) as his:
        for n in range(10):
            client.flushall()
            assert spoken(room, hers, his, f"{n}", by_socket=n % 2 == 0) < 1.5
    assert delay(room, "and again", by_socket=True) < 1.5
