"""What a web process does all the time: pings, deadlines, its lease, and catching up."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from shared.core.errors import ServiceUnavailable
from shared.core.ids import new_id
from shared.identity import service as identity
from shared.realtime import orders
from shared.runtime import Runtime
from tests.factories.world import World
from tests.unit.web.realtime.wire import Peer, Stop, run_once, say, wait_for
from web.realtime.heartbeat import PARTS, ROUND_SECONDS, Heartbeat
from web.realtime.hub import Hub
from web.realtime.recovery import Recovery


class Ears:
    """Stands for the subscriber."""

    is_connected = True


class Process:
    """A hub with its heartbeat, and people who are connected."""

    def __init__(self, runtime: Runtime, held: ExitStack) -> None:
        self.runtime = runtime
        self.hub = Hub(lambda *_: None)
        self.ears = Ears()
        self.recovery = Recovery(runtime, self.hub)
        self.heartbeat = Heartbeat(runtime, self.hub, self.recovery, self.ears)  # type: ignore[arg-type]
        self._held = held

    def peer(self, meeting_id: str = "M", participant_id: str = "P", **options: Any) -> Peer:
        """Return somebody who is connected."""
        peer = self._held.enter_context(Peer(meeting_id, participant_id, **options))
        self.hub.add(peer.connection)
        return peer

    def look(self, *, after: float = 0.0) -> None:
        """Judge everybody, as if so many seconds later."""
        self.heartbeat.look_after(self.hub.everyone(), time.monotonic() + after, time.time() + after)


@pytest.fixture
def process(runtime: Runtime) -> Iterator[Process]:
    """A process."""
    with ExitStack() as held:
        yield Process(runtime, held)


# --- watching


def test_a_ping_goes_to_everybody_once_an_interval(process: Process) -> None:
    peers = [process.peer() for _ in range(50)]
    for tenths in range(0, 241):
        process.look(after=tenths / 10)
    for peer in peers:
        peer.read(0.02)
    assert {peer.pings for peer in peers} <= {1, 2}
    assert sum(peer.pings for peer in peers) >= 75


def test_pings_to_many_are_spread_over_the_interval(process: Process) -> None:
    peers = [process.peer() for _ in range(50)]
    process.look()
    due = [peer.connection.next_ping for peer in peers]
    assert None not in due
    slots = {int((at or 0.0) / 1.2) for at in due}
    assert len(slots) >= 5  # of ten


def test_p9_m26_a_silent_connection_is_closed_4408_and_cut_at_the_next_look(process: Process) -> None:
    peer = process.peer()
    process.look(after=24)
    assert peer.connection.close_code is None
    process.look(after=26)
    process.look(after=26.5)
    peer.read()
    assert (peer.close_code, peer.is_cut) == (4408, True)


def test_f22_whose_time_ends_during_a_round_is_looked_at_in_every_part_of_it(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, silent = process.peer(), process.peer()
    silent.connection.last_heard -= process.runtime.settings.heartbeat_timeout - ROUND_SECONDS
    seen: list[list[Any]] = []
    monkeypatch.setattr(process.heartbeat, "look_after", lambda connections, *_: seen.append(connections))
    run_once(monkeypatch, process.heartbeat.watch, PARTS)
    assert len(seen) == PARTS
    assert all(silent.connection in part for part in seen)
    assert sum(fresh.connection in part for part in seen) == 1


def test_f22_a_silent_connection_is_cut_within_a_fifth_of_a_second_of_its_time_and_not_before(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = process.peer()
    timeout = process.runtime.settings.heartbeat_timeout
    watching = threading.Thread(target=lambda: run_until_stopped(process.heartbeat), daemon=True)
    watching.start()
    time.sleep(0.7)  # in the middle of a round
    peer.connection.last_heard = time.monotonic() - timeout + 2 * ROUND_SECONDS
    ends = peer.connection.last_heard + timeout
    while not peer.is_cut:
        peer.read(0.01)
        assert time.monotonic() < ends + 2
    assert ends < time.monotonic() < ends + 0.2
    assert peer.close_code == 4408
    monkeypatch.setattr(process.hub, "everyone", stop)
    watching.join(3)
    assert not watching.is_alive()


def run_until_stopped(heartbeat: Heartbeat) -> None:
    with suppress(Stop):
        heartbeat.watch()


def stop() -> None:
    raise Stop


def test_f22_who_is_heard_again_just_in_time_stays(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = process.peer()
    peer.connection.last_heard -= process.runtime.settings.heartbeat_timeout - ROUND_SECONDS
    assert process.heartbeat.fading(process.hub.everyone(), time.monotonic()) == [peer.connection]
    peer.connection.last_heard = time.monotonic()
    process.look()
    assert process.heartbeat.fading(process.hub.everyone(), time.monotonic()) == []
    assert peer.connection.close_code is None


def test_s74_an_expired_token_closes_4401(process: Process) -> None:
    old, fresh = process.peer(expires_at=time.time() + 5), process.peer(expires_at=time.time() + 20)
    process.look(after=6)
    assert (old.connection.close_code, fresh.connection.close_code) == (4401, None)


def test_a_close_that_nobody_answers_is_followed_by_the_end(process: Process) -> None:
    peer = process.peer()
    peer.connection.close(4510)
    process.look(after=1)
    peer.read(0.02)
    assert not peer.is_cut
    process.look(after=3)
    peer.read()
    assert peer.is_cut


def test_the_watch_goes_on_after_a_failure(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = process.peer()
    look = process.heartbeat.look_after
    failures = [RuntimeError("once")]

    def look_after(*args: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        look(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(process.heartbeat, "look_after", look_after)
        run_once(patched, process.heartbeat.watch, PARTS)
    assert (failures, peer.connection.next_ping) == ([], None)
    run_once(monkeypatch, process.heartbeat.watch, PARTS)
    assert peer.connection.next_ping is not None


# --- orders and sessions


def test_p7_an_order_closes_the_sockets_of_a_session_or_one_connection(process: Process, world: World) -> None:
    ada, bob = world.person(), world.person()
    hers, his, third = process.peer(actor=ada.actor), process.peer(actor=bob.actor), process.peer()
    assert ada.actor is not None
    process.heartbeat.obey(orders.end_session(ada.actor.session_id or ""))
    process.heartbeat.obey(orders.close_connection(third.connection.id))
    for nonsense in ("", "session", "connection nobody", "dance X"):
        process.heartbeat.obey(nonsense)
    codes = [peer.connection.close_code for peer in (hers, his, third)]
    assert codes == [4401, None, 4429]


def test_sessions_that_are_over_are_found_in_the_database(process: Process, world: World) -> None:
    ada, bob = world.person(), world.person()
    hers, his, guests = process.peer(actor=ada.actor), process.peer(actor=bob.actor), process.peer()
    process.heartbeat.check_sessions([guests.connection])
    assert ada.actor is not None
    with process.runtime.transaction() as tx:
        identity.revoke(tx, ada.actor.session_id or "", "test")
    process.heartbeat.check_sessions(process.hub.everyone())
    assert [p.connection.close_code for p in (hers, his, guests)] == [4401, None, None]


# --- catching up


def follow(process: Process) -> threading.Thread:
    """Follow the ledger in a thread that ends when the process's hub raises Stop."""

    def run() -> None:
        with suppress(Stop):
            process.heartbeat.follow_ledger()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def end(process: Process, thread: threading.Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    """End that thread."""

    def stop() -> None:
        raise Stop

    monkeypatch.setattr(process.recovery, "catch_up", stop)
    process.heartbeat.look_now()
    thread.join(3)
    assert not thread.is_alive()


def test_p2_it_catches_up_when_asked_and_each_second_while_redis_is_away(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting_id = new_id()
    ada = world.person()
    hers = process.peer(meeting_id, actor=ada.actor)
    process.recovery.subscribe(hers.connection, f"m:{meeting_id}", 0)
    thread = follow(process)
    say(process.runtime, meeting_id, "asked")
    process.heartbeat.look_now()
    assert hers.heard(0.8) == [(1, "asked")]
    say(process.runtime, meeting_id, "healthy")
    assert hers.heard(1.5) == []
    process.ears.is_connected = False
    assert hers.heard(1.6) == [(2, "healthy")]
    say(process.runtime, meeting_id, "away")
    assert hers.heard(1.3) == [(3, "away")]
    assert ada.actor is not None
    with process.runtime.transaction() as tx:
        identity.revoke(tx, ada.actor.session_id or "", "while Redis is away")
    wait_for(lambda: hers.connection.close_code == 4401, 2)
    end(process, thread, monkeypatch)


@pytest.mark.parametrize("trouble", [ServiceUnavailable(), RuntimeError("a bug")])
def test_catching_up_goes_on_after_a_failure(
    process: Process, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    tries = []

    def catch_up() -> None:
        tries.append(1)
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(process.recovery, "catch_up", catch_up)
        thread = follow(process)
        process.heartbeat.look_now()
        wait_for(lambda: tries)
        process.heartbeat.look_now()
        wait_for(lambda: len(tries) > 1)
        end(process, thread, patched)


def test_a_healthy_wait_ends_by_itself(process: Process) -> None:
    began = time.monotonic()
    process.heartbeat._wait(0.2)
    assert 0.15 < time.monotonic() - began < 1.0
