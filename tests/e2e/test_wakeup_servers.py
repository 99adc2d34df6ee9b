"""Several Redis servers share the wake-ups (WAKEUP_URLS): each carries those of its meetings, and those only."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from dev.valkey import Valkey
from shared.core.settings import Settings
from shared.realtime.channels import meeting_channel, server_of
from tests.e2e.room import Room, ask, eventually, furnish, hear, installation
from tests.stack import Stack

pytestmark = [pytest.mark.timeout(120), pytest.mark.once]


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Valkey]]:
    with Valkey() as first, Valkey() as second:
        yield [first, second]


@pytest.fixture(scope="module")
def webs(settings: Settings, servers: list[Valkey], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two web processes; wake-ups are on two servers of their own."""
    directory = tmp_path_factory.mktemp("wakeups")
    with installation(settings, directory) as (ours, _):
        apart = replace(ours, wakeup_urls=[server.url for server in servers])
        with Stack(apart, directory, webs=2, with_workers=False) as running:
            yield running


def room_on(webs: Stack, server: int) -> Room:
    """Return a meeting whose wake-ups a server carries."""
    while True:
        room = furnish(webs, "Ada", "Bob")
        if server_of(meeting_channel(room.meeting_id), 2) == server:
            return room


def delay(room: Room, content: str) -> float:
    """Ada says something at the first process; return after how long Bob hears it at the second."""
    with room.open(0) as hers, room.open(1, web=1) as his:
        ask(hers, "chat", {"content": f"warm, {content}"})
        hear(his, f"warm, {content}", 8)
        began = time.monotonic()
        assert ask(hers, "chat", {"content": content})["type"] == "ack"
        hear(his, content, 8)
        return time.monotonic() - began


def carried(url: str) -> set[str]:
    """Return the channels of meetings that somebody listens to at a server."""
    with redis.Redis.from_url(url) as client:
        return {channel.decode() for channel in client.pubsub_channels("parley:m:*")}  # type: ignore[union-attr]


def test_each_server_carries_its_meetings_and_when_one_dies_the_others_do_not_notice(
    webs: Stack, servers: list[Valkey]
) -> None:
    rooms = [room_on(webs, server) for server in (0, 1)]
    with rooms[0].open(0), rooms[1].open(0):
        channels = [meeting_channel(room.meeting_id) for room in rooms]
        eventually(lambda: [carried(server.url) & set(channels) for server in servers] == [{one} for one in channels])
        assert not carried(webs.settings.redis_url) & set(channels)
    for n, room in enumerate(rooms):
        assert delay(room, f"both are there {n}") < 0.9

    with rooms[1].open(1, web=1) as his:  # an order, on whichever server these are
        began = time.monotonic()
        rooms[1].people[1].post("/auth/logout")
        assert his.closed(4).code == 4401
        assert time.monotonic() - began < 1.0

    other = room_on(webs, 1)
    servers[0].stop()
    assert delay(other, "the first is gone") < 0.9
    assert delay(rooms[0], "by the catch-up") < 3.0
