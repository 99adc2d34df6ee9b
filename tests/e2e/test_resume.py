"""Resuming (contract 11): every later event follows in order, none lost, none twice, also at another process."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from dev.websocket_client import Closed, Socket
from shared.core import ledger
from shared.core.ids import new_id
from shared.meetings.models import meetings
from shared.runtime import Runtime
from tests.e2e.room import Room, at_once, chats, eventually, furnish, numbers
from tests.stack import Stack

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def second(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Another web process of the same installation."""
    with Stack(stack.settings, tmp_path_factory.mktemp("second"), with_workers=False) as running:
        yield running


def test_p1_what_was_missed_follows_in_order_and_then_what_is_live(stack: Stack, second: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(1) as his:
        cursors = dict(his.welcome["data"]["cursors"])
    for n in range(5):
        room.say(0, f"missed {n}")
    room.say(0, "psst", recipient_id=room.id_of(1))
    since = f"meeting:{cursors['meeting']},me:{cursors['me']}"
    for at in (stack, second):
        with room.open(1, at=at, since=since, epoch=his.welcome["data"]["epoch"]) as back:
            assert back.welcome["data"]["recovered"] is True
            room.say(0, f"live {at is stack}")
            frames = back.drain()
            assert "resync" not in {f["type"] for f in frames}
            seqs = numbers(frames)
            assert seqs == list(range(cursors["meeting"] + 1, cursors["meeting"] + 1 + len(seqs)))
            public = chats([f for f in frames if f["stream"] == "meeting"])  # each stream has an order of its own
            assert public[:5] == [f"missed {n}" for n in range(5)]
            assert [(f["seq"], f["data"]["content"]) for f in frames if f["stream"] == "me"] == [
                (cursors["me"] + 1, "psst")
            ]
            assert public[-1] == f"live {at is stack}"


def test_resuming_at_the_head_is_a_recovery_of_nothing(stack: Stack) -> None:
    room = furnish(stack, "Ada")
    first = room.open(0)
    assert room.open(0, since=f"meeting:{first.welcome['data']['cursors']['meeting']}").welcome["data"]["recovered"]
    first.close()


def test_p1_clients_that_come_and_go_between_two_processes_lose_nothing_and_hear_nothing_twice(
    stack: Stack, second: Stack
) -> None:
    room = furnish(stack, "Ada", "Bob", "Cid", "Dan")
    start = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
    done = threading.Event()

    def flutter(who: int) -> list[int]:
        """Listen for a moment here, then there, until everything was said; return the numbers that were heard."""
        heard: list[int] = []
        cursor, turn = start, who
        while not done.is_set() or turn % 2:
            turn += 1
            at = (stack, second)[turn % 2]
            with room.open(who, at=at, since=f"meeting:{cursor}") as socket:
                assert socket.welcome["data"]["recovered"] is True
                heard += numbers(socket.drain(0.02 if turn % 3 else 0.1))
            cursor = heard[-1] if heard else start
        with room.open(who, since=f"meeting:{cursor}") as socket:
            return heard + numbers(socket.drain())

    def work(index: int) -> list[int]:
        if index < 3:
            return flutter(index + 1)
        with room.open(0, at=second) as hers:
            acks = []
            for n in range(120):
                acks.append(hers.request("chat", {"content": f"{n}"}, n)["seq"])
                time.sleep(0.01)
        done.set()
        return acks

    *heards, acks = at_once(4, work)
    for heard in heards:
        assert heard == list(range(start + 1, start + 1 + len(heard)))
        assert set(acks) <= set(heard)


def test_p1_a_long_and_heavy_replay_arrives_whole(stack: Stack, second: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    start = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
    text = "ü" * 3990
    with room.open(0) as hers:
        for n in range(550):  # 4 MB, more than an outbox and a chunk of the ledger
            hers.send("chat", {"content": f"{n:04}{text}"})
        last = hers.request("chat", {"content": "last"}, "last", 60)["seq"]
        for at in (second, stack):
            with room.open(1, at=at, since=f"meeting:{start}") as his:
                time.sleep(0.5)  # a reader that begins late
                room.say(0, "live")
                heard: list[int] = []
                while not heard or heard[-1] < last:
                    heard += numbers([his.receive()])
                assert heard == list(range(start + 1, heard[-1] + 1))
            hers.drain(0.1)


@pytest.mark.parametrize("cursor", ["beyond", "huge", "far beyond"])
def test_s75_a_cursor_beyond_the_head_is_answered_by_a_resync(stack: Stack, cursor: str) -> None:
    room = furnish(stack, "Ada", "Bob")
    head = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
    number = {"beyond": head + 2, "huge": 2**63, "far beyond": 10**16 + 1}[cursor]
    check_resync(room, since=f"meeting:{number}")


def check_resync(room: Room, since: str, epoch: str | None = None) -> None:
    """Bob's resume is refused as a whole, with a resync; the snapshot goes on from there and he hears what is live."""
    with room.open(1, since=since, epoch=epoch) as his:
        assert his.welcome["data"]["recovered"] is False
        resync = his.receive()
        assert (resync["type"], resync["stream"], resync["seq"]) == ("resync", None, None)
        snapshot = room.people[1].get(room.path("/snapshot")).data
        said = room.say(0, "live")
        frames = his.drain()
        assert chats(frames) == ["live"]
        assert numbers(frames)[-1] == said["seq"] > snapshot["cursors"]["meeting"] - 1
        assert snapshot["epoch"] == his.welcome["data"]["epoch"]


def test_a_since_of_another_epoch_is_answered_by_a_resync(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    room.say(0, "old")
    head = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
    check_resync(room, since=f"meeting:{head - 1}", epoch=new_id())
    with room.open(1) as his:
        epoch = his.welcome["data"]["epoch"]
    with room.open(1, since=f"meeting:{head - 1}", epoch=epoch) as his:
        assert his.welcome["data"]["recovered"] is True


def test_s75_a_since_from_before_ones_own_stay_is_answered_by_a_resync_without_the_old_events(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    bob = room.people[1]
    before = room.people[0].get(room.path("/status")).data["cursors"]["meeting"]
    bob.post(room.path("/leave"))
    room.say(0, "while he was out")
    bob.post(room.path("/join"))
    check_resync(room, since=f"meeting:{before}")
    entered = max(e["seq"] for e in room.events(0) if e["type"] == "join")
    with room.open(1, since=f"meeting:{entered - 1}") as his:
        assert his.welcome["data"]["recovered"] is True
        heard = his.drain()
        assert heard[0]["type"] == "join"
        assert "while he was out" not in chats(heard)


def test_a_since_behind_what_is_kept_is_answered_by_a_resync(stack: Stack, runtime: Runtime) -> None:
    room = furnish(stack, "Ada", "Bob")
    cursor = room.say(0, "yesterday")["seq"] - 1
    with room.open(1, since=f"meeting:{cursor}") as his:
        assert his.welcome["data"]["recovered"] is True
    with runtime.transaction() as tx:
        events = ledger.events
        mine = (events.c.meeting_id == room.meeting_id) & (events.c.seq == cursor + 1)
        long_ago = tx.now - ledger.WINDOW - timedelta(seconds=1)
        tx.execute(update(events).where(mine).values(created_at=long_ago))
        tx.execute(update(meetings).where(meetings.c.id == room.meeting_id).values(created_at=long_ago))
    check_resync(room, since=f"meeting:{cursor}")


def test_p9_who_resumes_at_once_is_neither_gone_nor_new_to_the_others(stack: Stack, second: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(0) as hers:
        his = room.open(1)
        his.drop()
        cursor = his.welcome["data"]["cursors"]["meeting"]
        eventually(lambda: "connection_status" in {f["type"] for f in hers.drain(0.1)}, 5)
        with room.open(1, at=second, since=f"meeting:{cursor}") as back:
            told = hers.until("connection_status")
            assert told["data"]["status"] == "connected"
            assert {f["type"] for f in back.drain() + hers.drain(0.1)} <= {"connection_status"}


def test_a_refused_resume_does_not_disturb_the_socket_that_is_open(stack: Stack) -> None:
    room = furnish(stack, "Ada", "Bob")
    with room.open(1) as his:
        check_resync(room, since="meeting:99999")
        with pytest.raises((TimeoutError, Closed)):
            his.until("resync", 0.5)
        assert isinstance(his, Socket)
        assert his.request("chat", {"content": "still here"})["type"] == "ack"
