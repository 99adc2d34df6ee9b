"""The hub with the real ledger: none lost, none twice, in order, whatever comes between."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from shared.core import greenlets
from shared.core.errors import ServiceUnavailable
from shared.core.ids import new_id
from shared.realtime import effects
from shared.realtime.envelope import Wakeup
from shared.runtime import Runtime
from tests.unit.web.realtime.wire import Peer, say, wait_for
from web.realtime import hub as module
from web.realtime import recovery
from web.realtime import topic as topics
from web.realtime.hub import Hub
from web.realtime.recovery import Recovery
from web.realtime.topic import Topic


class Meeting:
    """A hub, a meeting in the ledger, and people who listen."""

    def __init__(self, runtime: Runtime, held: ExitStack) -> None:
        self.runtime = runtime
        self.told: list[tuple[str, bool]] = []
        self.hub = Hub(lambda meeting_id, yes: self.told.append((meeting_id, yes)))
        self.recovery = Recovery(runtime, self.hub)
        self.id = new_id()
        self.key = f"m:{self.id}"
        self._held = held

    def share(self, other: "Meeting") -> None:
        """Go on in the process of another meeting."""
        self.hub, self.recovery = other.hub, other.recovery

    def peer(self, participant_id: str = "P", **options: object) -> Peer:
        """Return somebody who is connected and hears nothing yet."""
        peer = self._held.enter_context(Peer(self.id, participant_id, **options))  # type: ignore[arg-type]
        assert self.hub.add(peer.connection)
        return peer

    def listener(self, seq: int = 0, participant_id: str = "P") -> Peer:
        """Return somebody who hears the meeting from behind `seq`."""
        peer = self.peer(participant_id)
        self.recovery.subscribe(peer.connection, self.key, seq)
        return peer

    def say(self, *texts: str, does: str | None = None) -> list[Wakeup]:
        """Write events into the ledger; return the wake-ups."""
        return say(self.runtime, self.id, *texts, does=does)

    def topic(self) -> Topic:
        """Return the meeting's topic."""
        return self.hub.topics[self.key]


@pytest.fixture
def meeting(runtime: Runtime) -> Iterator[Meeting]:
    """A hub and a meeting."""
    with ExitStack() as held:
        yield Meeting(runtime, held)


# --- connections


def test_connections_are_known_by_meeting_and_address_and_forgotten_with_all_they_heard(meeting: Meeting) -> None:
    one, two = meeting.listener(), meeting.listener()
    assert meeting.told == [(meeting.id, True)]
    assert (meeting.hub.count_from("192.0.2.1"), meeting.hub.count_from("192.0.2.9")) == (2, 0)
    assert set(meeting.hub.of_meeting(meeting.id)) == {one.connection, two.connection} == set(meeting.hub.everyone())
    meeting.hub.remove(one.connection)
    meeting.hub.remove(one.connection)
    assert meeting.told == [(meeting.id, True)]
    assert list(meeting.topic().members.values()) == [two.connection]
    meeting.hub.remove(two.connection)
    assert meeting.told == [(meeting.id, True), (meeting.id, False)]
    hub = meeting.hub
    assert (hub.topics, hub.connections, hub._meetings, hub._addresses) == ({}, {}, {}, {})
    assert hub.of_meeting(meeting.id) == []


def test_p11_m20_a_draining_hub_closes_all_with_1012_and_takes_nobody_whoever_comes_first(meeting: Meeting) -> None:
    here = meeting.listener()
    results: list[bool] = []
    with ExitStack() as held:
        late = [held.enter_context(Peer(meeting.id)) for _ in range(40)]

        def come(peers: list[Peer]) -> None:
            for peer in peers:
                results.append(meeting.hub.add(peer.connection))
                time.sleep(0.0005)

        threads = [threading.Thread(target=come, args=(late[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.003)
        leaving = meeting.hub.drain()
        for thread in threads:
            thread.join()
        assert len(leaving) == 1 + sum(results)
        for connection in leaving:
            assert connection.close_code == 1012
        here.read()
        assert here.close_code == 1012
        assert set(meeting.hub.everyone()) == set(leaving)


# --- hearing


def test_a_newcomer_hears_what_was_missed_and_then_what_is_live(meeting: Meeting) -> None:
    meeting.say("a", "b", "c")
    peer = meeting.listener(1)
    meeting.hub.deliver(meeting.say("d"))
    assert peer.heard() == [(2, "b"), (3, "c"), (4, "d")]


def test_the_first_newcomer_reads_the_ledger_and_the_next_ones_the_ring(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting.say("a", "b")
    meeting.listener(0)

    def never(*_: object) -> None:
        raise AssertionError("the ledger was read")

    with monkeypatch.context() as patched:
        patched.setattr(meeting.recovery, "_read", never)
        for seq in (0, 1, 2):
            assert meeting.listener(seq).heard() == [(1, "a"), (2, "b")][seq:]


def test_a_newcomer_from_before_the_ring_reads_the_ledger(meeting: Meeting) -> None:
    meeting.say("a", "b", "c")
    meeting.listener(2)
    assert meeting.listener(0).heard() == [(1, "a"), (2, "b"), (3, "c")]


def test_a_long_replay_comes_in_chunks_and_whole(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "CHUNK", 4)
    monkeypatch.setattr(recovery, "PIECE_BYTES", 500)
    meeting.say(*map(str, range(21)))
    for _ in range(2):  # by the ledger, by the ring
        peer = meeting.listener(0)
        assert peer.heard() == [(n + 1, str(n)) for n in range(21)]
    meeting.hub.deliver(meeting.say("live"))
    assert peer.heard() == [(22, "live")]


def test_a_replay_waits_for_a_slow_reader_and_holds_up_nobody_else(meeting: Meeting) -> None:
    meeting.say(*(f"{n}" + "x" * 60_000 for n in range(20)))
    fast = meeting.listener(20)
    slow = meeting.peer(buffer=4096)
    thread = threading.Thread(target=meeting.recovery.subscribe, args=(slow.connection, meeting.key, 0))
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    began = time.monotonic()
    meeting.hub.deliver(meeting.say("live"))
    assert time.monotonic() - began < 0.2
    assert fast.heard() == [(21, "live")]
    assert [seq for seq, _ in slow.heard(0.5)] == list(range(1, 22))
    thread.join(5)
    assert not thread.is_alive()
    assert slow.connection.close_code is None


def test_a_newcomer_who_knows_more_than_the_topic_brings_it_up_to_date_and_hears_nothing_twice(
    meeting: Meeting,
) -> None:
    first = meeting.listener(0)
    wakeups = meeting.say("a", "b")  # committed, and not delivered yet
    second = meeting.listener(2)
    assert first.heard() == [(1, "a"), (2, "b")]
    meeting.hub.deliver(wakeups)
    meeting.hub.deliver(meeting.say("c"))
    assert (first.heard(), second.heard()) == ([(3, "c")], [(3, "c")])


def test_a_cursor_beyond_the_ledger_hears_what_comes(meeting: Meeting) -> None:
    meeting.listener(0)
    peer = meeting.listener(5)
    meeting.hub.deliver(meeting.say("a"))
    assert peer.heard() == [(1, "a")]


def test_who_is_closing_is_not_subscribed_and_leaves_no_topic_behind(meeting: Meeting) -> None:
    peer = meeting.peer()
    peer.connection.close(4401)
    meeting.recovery.subscribe(peer.connection, meeting.key, 0)
    assert meeting.hub.topics == {}


def test_who_is_cut_off_during_a_replay_leaves_no_topic_behind(meeting: Meeting) -> None:
    meeting.say(*(f"{n}" + "x" * 60_000 for n in range(20)))
    slow = meeting.peer(buffer=4096)
    thread = threading.Thread(target=meeting.recovery.subscribe, args=(slow.connection, meeting.key, 0))
    thread.start()
    time.sleep(0.1)
    slow.connection.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert meeting.hub.topics == {}


def test_a_topic_that_was_dropped_while_somebody_came_is_made_again(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting.say("a")
    old = meeting.listener(0)
    attach = meeting.hub.attach
    lost: list[Any] = []

    def attach_late(connection, topic, missed, head):  # type: ignore[no-untyped-def]
        if not lost:
            lost.append(topic)
            meeting.hub.remove(old.connection)  # takes the topic along
        return attach(connection, topic, missed, head)

    monkeypatch.setattr(meeting.hub, "attach", attach_late)
    peer = meeting.listener(0)
    assert meeting.topic() is not lost[0]
    meeting.hub.deliver(meeting.say("b"))
    assert peer.heard() == [(1, "a"), (2, "b")]


def test_m5_an_event_between_the_reading_and_the_hearing_is_not_lost_and_not_doubled(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = meeting.recovery._read
    late: list[Any] = []

    def read_then_something_happens(key: str, seq: int, limit: int):  # type: ignore[no-untyped-def]
        lines = read(key, seq, limit)
        if not late:
            late.extend(meeting.say("in between"))
            meeting.hub.deliver(late)  # nobody is a member yet
        return lines

    monkeypatch.setattr(meeting.recovery, "_read", read_then_something_happens)
    peer = meeting.listener(0)
    second = meeting.listener(0)
    meeting.hub.deliver(meeting.say("live"))
    assert peer.heard() == second.heard() == [(1, "in between"), (2, "live")]


def test_an_event_whose_wakeup_was_lost_before_the_first_newcomer_was_ready_is_found_by_the_catch_up(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = meeting.recovery._read
    done: list[Any] = []

    def read_then_miss(key: str, seq: int, limit: int):  # type: ignore[no-untyped-def]
        lines = read(key, seq, limit)
        if not done:
            done.append(meeting.say("missed"))
            meeting.recovery.catch_up()
        return lines

    monkeypatch.setattr(meeting.recovery, "_read", read_then_miss)
    assert meeting.listener(0).heard() == [(1, "missed")]


def test_p1_newcomers_and_speakers_at_once_lose_nothing(meeting: Meeting) -> None:
    stop = threading.Event()

    def speak() -> None:
        while not stop.is_set():
            if meeting.hub.deliver(meeting.say()):
                meeting.recovery.catch_up()

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        peers = []
        for _ in range(15):
            peers.append(meeting.listener(0))
            time.sleep(0.01)
    finally:
        stop.set()
        speaker.join()
    meeting.recovery.catch_up()
    last = meeting.topic().head
    for peer in peers:
        assert [seq for seq, _ in peer.heard()] == list(range(1, last + 1))


# --- delivering


def test_wakeups_of_many_streams_reach_those_who_hear_them_each_once_and_in_order(runtime: Runtime) -> None:
    with ExitStack() as held:
        one, two = Meeting(runtime, held), Meeting(runtime, held)
        two.share(one)
        a, b = one.listener(), two.listener()
        mixed = [w for pair in zip(one.say("1", "2", "3"), two.say("x", "y", "z"), strict=True) for w in pair]
        unheard = say(runtime, new_id(), "nobody")
        assert one.hub.deliver([*mixed, *unheard, *mixed]) == []
        assert a.heard() == [(1, "1"), (2, "2"), (3, "3")]
        assert b.heard() == [(1, "x"), (2, "y"), (3, "z")]


def test_a_wakeup_that_is_ahead_means_a_gap_that_the_catch_up_fills(meeting: Meeting) -> None:
    peer = meeting.listener()
    first, _, third = meeting.say("a", "b", "c")
    assert meeting.hub.deliver([first, third]) == [meeting.topic()]
    assert peer.heard() == [(1, "a")]
    meeting.recovery.catch_up()
    meeting.recovery.catch_up()
    assert peer.heard() == [(2, "b"), (3, "c")]
    assert meeting.hub.deliver([third]) == []
    assert peer.heard() == []


def test_m6_a_long_gap_is_filled_in_chunks(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "CHUNK", 3)
    peer = meeting.listener()
    meeting.say(*map(str, range(10)))
    meeting.recovery.catch_up()
    assert peer.heard() == [(n + 1, str(n)) for n in range(10)]


@pytest.mark.parametrize("at_once", [1, 2, 200])
def test_many_streams_that_are_behind_are_read_together(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(recovery, "STREAMS_AT_ONCE", at_once)
    with ExitStack() as held:
        rooms = [Meeting(runtime, held) for _ in range(5)]
        for room in rooms[1:]:
            room.share(rooms[0])
        peers = [room.listener() for room in rooms]
        for room in rooms[:4]:
            room.say("a", "b")
        read, alone = rooms[0].recovery._read, []

        def note(key: str, seq: int, limit: int) -> Any:
            alone.append(key)
            return read(key, seq, limit)

        monkeypatch.setattr(rooms[0].recovery, "_read", note)
        rooms[0].recovery.catch_up()
        assert [peer.heard() for peer in peers] == [*[[(1, "a"), (2, "b")]] * 4, []]
        assert alone == []


def test_a_signal_is_told_to_who_is_there_and_not_remembered(meeting: Meeting) -> None:
    peer = meeting.listener()
    meeting.hub.deliver([Wakeup(meeting.key, 0, None, b'{"seq":null,"data":{"text":"clap"}}')])
    assert [(m["seq"], m["data"]["text"]) for m in peer.read()] == [(None, "clap")]
    assert (list(meeting.topic().ring), meeting.topic().head) == ([], 0)
    assert meeting.listener().heard() == []


def test_delivery_by_two_roads_at_once_doubles_nothing(meeting: Meeting) -> None:
    peer = meeting.listener()
    wakeups = meeting.say(*map(str, range(60)))
    roads = [threading.Thread(target=meeting.recovery.catch_up) for _ in range(3)]
    roads += [threading.Thread(target=lambda n=n: [meeting.hub.deliver([w]) for w in wakeups[n:]]) for n in (0, 20)]
    for road in roads:
        road.start()
    for road in roads:
        road.join()
    assert peer.heard() == [(n + 1, str(n)) for n in range(60)]


def test_a_catch_up_without_topics_asks_nobody(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "reading", None)
    meeting.recovery.catch_up()


def no_reading(*_: object, **__: object) -> None:
    """Fail as a database that does not answer."""
    raise ServiceUnavailable


def test_while_the_ledger_does_not_answer_catching_up_is_postponed_and_newcomers_are_told(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = meeting.listener()
    meeting.say("a")
    newcomer = meeting.peer()
    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "reading", no_reading)
        meeting.recovery.catch_up()
        with pytest.raises(ServiceUnavailable):
            meeting.recovery.subscribe(newcomer.connection, "p:other", 0)
    assert peer.heard() == []
    assert list(meeting.hub.topics) == [meeting.key]
    meeting.recovery.catch_up()
    assert peer.heard() == [(1, "a")]


def test_the_ring_is_bounded(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = meeting.listener()
    frame = b'{"seq":1,"data":{"text":"x"}}'
    for start in range(1, topics.RING_SIZE + 100, 100):
        meeting.hub.deliver([Wakeup(meeting.key, seq, None, frame) for seq in range(start, start + 100)])
        peer.read(0)
    assert len(meeting.topic().ring) == topics.RING_SIZE
    assert meeting.topic().behind(0) is None
    assert len(meeting.topic().behind(meeting.topic().head - 2) or ()) == 2


# --- effects


def test_the_end_closes_all_who_hear_the_meeting_behind_the_event(meeting: Meeting) -> None:
    inside, waiter = meeting.listener(), meeting.peer("W")
    meeting.recovery.subscribe(waiter.connection, "p:W", 0)
    other = Meeting(meeting.runtime, meeting._held)
    other.share(meeting)
    elsewhere = other.listener()
    meeting.hub.deliver(meeting.say("over", does=effects.END))
    assert inside.heard() == [(1, "over")]
    assert inside.close_code == 4510
    assert (waiter.heard(), waiter.close_code) == ([], None)  # is told, and closed, on a stream of its own
    assert (elsewhere.heard(), elsewhere.close_code) == ([], None)


def test_who_is_gone_is_closed_on_every_socket_behind_the_event(meeting: Meeting) -> None:
    stays, one, two = meeting.listener(), meeting.listener(0, "Q"), meeting.peer("Q")
    meeting.hub.deliver(meeting.say("bye", does=effects.gone("Q", 4503)))
    assert one.heard() == stays.heard() == [(1, "bye")]
    two.read()
    assert (one.close_code, two.close_code, stays.close_code) == (4503, 4503, None)


@pytest.mark.parametrize(("effect", "renewed"), [(effects.renew("Q"), ["Q"]), (effects.renew(), ["P", "Q"])])
def test_what_somebody_may_do_is_looked_up_anew(meeting: Meeting, effect: str, renewed: list[str]) -> None:
    peers = [meeting.listener(participant_id=id_) for id_ in "PQ"]
    meeting.hub.deliver(meeting.say("changed", does=effect))
    assert [peer.connection.participant_id for peer in peers if peer.connection.sender.renewals] == renewed
    assert all(peer.connection.closing_since is None for peer in peers)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("effect", [effects.gone("Q", 4503), effects.outside("Q")])
def test_who_loses_a_right_gets_nothing_behind_it_in_the_same_batch(meeting: Meeting, effect: str, late: bool) -> None:
    stays, goes = meeting.listener(participant_id="P"), meeting.listener(participant_id="Q")
    wakeups = [*meeting.say("before"), *meeting.say("out", does=effect), *meeting.say("a secret")]
    meeting.recovery.catch_up() if late else meeting.hub.deliver(wakeups)
    assert [text for _, text in stays.heard()] == ["before", "out", "a secret"]
    assert [text for _, text in goes.heard()] == ["before", "out"]


def test_a_right_that_ended_while_a_newcomer_was_shown_in_is_heeded(meeting: Meeting) -> None:
    newcomer = meeting.peer("Q")
    head = meeting.say("before")[0].seq
    meeting.say("out", does=effects.outside("Q"))
    renewals = newcomer.connection.sender.renewals
    meeting.recovery.subscribe(newcomer.connection, meeting.key, 0, head)
    assert newcomer.connection.sender.renewals > renewals  # then the gateway asks once more, see Tuner.take_back
    newcomer_again = meeting.peer("Q")
    meeting.recovery.subscribe(newcomer_again.connection, meeting.key, 0, head + 1)
    assert newcomer_again.connection.sender.renewals == 0  # for whom it was history


def test_many_writes_give_others_their_turn_in_between(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr(module, "TURN_WRITES", 0)
    meeting.listener()
    others = Meeting(meeting.runtime, meeting._held)
    others.share(meeting)
    others.listener()
    monkeypatch.setattr(time, "sleep", turns.append)
    meeting.hub.deliver([*meeting.say("a"), *others.say("b")])
    assert turns == [greenlets._MOMENT_SECONDS]


@pytest.mark.parametrize("effect", [effects.END, effects.gone("P", 4510)])
def test_an_effect_is_applied_also_by_the_catch_up(meeting: Meeting, effect: str) -> None:
    peer = meeting.listener()
    meeting.say("over", does=effect)
    meeting.recovery.catch_up()
    assert (peer.heard(), peer.close_code) == ([(1, "over")], 4510)


def test_s93_what_was_taken_back_is_forgotten_by_the_ring(meeting: Meeting) -> None:
    meeting.listener()
    meeting.hub.deliver(meeting.say("secret"))
    assert len(meeting.topic().ring) == 1
    meeting.hub.deliver([*meeting.say("taken back", does=effects.REDACT), *meeting.say("after")])
    assert [line.seq for line in meeting.topic().ring] == [3]
    assert [seq for seq, _ in meeting.listener(0).heard()] == [1, 2, 3]


def test_an_effect_of_a_newer_release_is_none(meeting: Meeting) -> None:
    peer = meeting.listener()
    meeting.hub.deliver(meeting.say("new", does="sparkle:*:0"))
    assert peer.heard() == [(1, "new")]


def test_p10_m21_who_does_not_read_does_not_hold_up_the_others(meeting: Meeting) -> None:
    slow = meeting.peer(buffer=4096)
    meeting.recovery.subscribe(slow.connection, meeting.key, 0)
    fast = meeting.listener()
    heard = 0
    began = time.monotonic()
    for _ in range(10):
        meeting.hub.deliver(meeting.say(*("x" * 50_000 for _ in range(3))))
        heard += len(fast.heard(0.02))
    assert heard == 30
    assert time.monotonic() - began < 5
    wait_for(lambda: slow.connection.close_code == 4429)
    assert fast.connection.close_code is None


def test_topics_know_what_stands_behind_a_number() -> None:
    topic = Topic("m:M", "M")
    assert topic.behind(0) is None
    topic.hear_of(5)
    topic.learn(0, [topics.Line(4, b"", None)])  # read before the fifth was heard of
    assert not topic.is_known
    topic.learn(4, [topics.Line(5, b"", None)])
    assert topic.is_known
    topic.hear_of(9)  # type: ignore[unreachable]  # mypy keeps what a call has changed
    assert (topic.head, topic.behind(5), topic.behind(3)) == (5, [], None)
    topic.learn(0, [])
    assert topic.head == 5


def test_who_comes_back_is_closed_by_an_end_since_the_last_look_and_not_by_an_older_one(meeting: Meeting) -> None:
    say(meeting.runtime, meeting.id, "long ago", does=effects.gone("P", 4503))
    say(meeting.runtime, meeting.id, "just now", does=effects.gone("Q", 4503))
    for who, head, code in (("P", 1, None), ("P", 0, 4503), ("Q", 1, 4503), ("R", 0, None)):
        peer = meeting.peer(who)
        meeting.recovery.subscribe(peer.connection, meeting.key, 0, head)
        assert peer.connection.close_code == code
