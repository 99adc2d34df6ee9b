"""One transaction: state, events and jobs together or not at all, on the real database."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import exc, select, update

from shared.core import ledger, outbox
from shared.core.ids import new_id
from shared.core.ledger import StreamClosed
from shared.core.locks import leases
from shared.core.messages import MeetingEvent, Signal
from shared.core.streams import hosts_stream, meeting_stream, personal_stream
from shared.core.transaction import Position, Transaction
from shared.core.vitals import vitals
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from tests.factories.statements import statements_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BellRang(MeetingEvent):
    type: ClassVar[str] = "bell"
    tone: str = "c"

    def data(self) -> dict[str, Any]:
        return {"tone": self.tone}

    @property
    def effect(self) -> str | None:
        return "wake everybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsBellRang(BellRang):
    @property
    def stream(self) -> str:
        return hosts_stream(self.meeting_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastBellRang(BellRang):
    final_word: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BirdSang(Signal):
    type: ClassVar[str] = "bird"

    def data(self) -> dict[str, Any]:
        return {}


class Undo(Exception):
    """Ends a transaction without a commit."""


@pytest.fixture
def meeting_id() -> str:
    return new_id()


def events_of(runtime: Runtime, meeting_id: str) -> list[tuple[str, int]]:
    with runtime.reading() as tx:
        rows = tx.all(ledger.events.select().where(ledger.events.c.meeting_id == meeting_id))
    return sorted((row.stream, row.seq) for row in rows)


def rooms_in_outbox(runtime: Runtime) -> set[str]:
    with runtime.reading() as tx:
        return {row.payload["room"] for row in tx.all(outbox.outbox.select()) if "room" in row.payload}


def test_an_event_gets_the_next_number_of_its_stream_and_is_kept_with_the_commit(timed, meeting_id) -> None:
    user_id = new_id()
    with timed.transaction() as tx:
        first = tx.emit(BellRang(meeting_id=meeting_id, actor_id=user_id))
        second = tx.emit(BellRang(meeting_id=meeting_id, tone="é"))
        other = tx.emit(HostsBellRang(meeting_id=meeting_id))
        now = tx.now

    assert first == Position(meeting_stream(meeting_id), 1)
    assert second == Position(meeting_stream(meeting_id), 2)
    assert other == Position(hosts_stream(meeting_id), 1)
    with timed.reading() as tx:
        rows = tx.all(
            ledger.events.select().where(ledger.events.c.stream == meeting_stream(meeting_id)).order_by("seq")
        )
    assert [(row.type, row.actor_id, json.loads(row.data), row.effect, row.created_at) for row in rows] == [
        ("bell", user_id, {"tone": "c"}, "wake everybody", now),
        ("bell", None, {"tone": "é"}, "wake everybody", now),
    ]


@pytest.mark.parametrize(
    ("stream", "name"),
    [(meeting_stream("x"), "meeting"), (hosts_stream("x"), "hosts"), (personal_stream("x"), "me")],
)
def test_a_position_is_told_by_the_name_that_clients_know(stream, name) -> None:
    assert Position(stream, 7).name == name


def test_an_undone_transaction_leaves_no_event_no_job_and_no_hole(runtime, meeting_id) -> None:
    with suppress(Undo), runtime.transaction() as tx:
        tx.emit(BellRang(meeting_id=meeting_id))
        tx.enqueue(DeleteRoom(room=meeting_id))
        raise Undo

    assert events_of(runtime, meeting_id) == []
    assert meeting_id not in rooms_in_outbox(runtime)
    with runtime.transaction() as tx:
        assert tx.emit(BellRang(meeting_id=meeting_id)) == Position(meeting_stream(meeting_id), 1)


def test_a_signal_is_told_but_not_kept(runtime, meeting_id) -> None:
    sang = BirdSang(meeting_id=meeting_id)
    with runtime.transaction() as tx:
        assert tx.emit(sang) is None
        assert tx.signals == [sang]

    assert events_of(runtime, meeting_id) == []


def test_a_closed_stream_takes_final_words_only(runtime, meeting_id) -> None:
    with runtime.transaction() as tx:
        tx.emit(BellRang(meeting_id=meeting_id))
        ledger.close_streams(tx.connection, meeting_id)

    with pytest.raises(StreamClosed), runtime.transaction() as tx:
        tx.emit(BellRang(meeting_id=meeting_id))
    with runtime.transaction() as tx:
        assert tx.emit(LastBellRang(meeting_id=meeting_id)) == Position(meeting_stream(meeting_id), 2)


def test_jobs_are_written_with_the_commit_and_become_errands(runtime, meeting_id) -> None:
    with runtime.transaction() as tx:
        tx.enqueue(DeleteRoom(room=meeting_id))
        tx.enqueue(DeleteRoom(room=f"{meeting_id}-2"))
        assert tx.errands == ()

    assert [(errand.name, errand.lane) for errand in tx.errands] == [("livekit.delete_room", "media")] * 2
    with runtime.reading() as tx2:
        payloads = {
            tx2.scalar(select(outbox.outbox.c.payload["room"].as_string()).where(outbox.outbox.c.id == errand.id))
            for errand in tx.errands
        }
    assert payloads == {meeting_id, f"{meeting_id}-2"}


def test_a_transaction_that_only_reads_writes_no_job(runtime, meeting_id) -> None:
    with runtime.reading() as tx:
        tx.enqueue(DeleteRoom(room=meeting_id))

    assert meeting_id not in rooms_in_outbox(runtime)


@pytest.mark.parametrize("consistent", [False, True])
def test_statements_return_rows_a_row_or_a_value(timed: Runtime, consistent: bool) -> None:
    names = sorted(new_id() for _ in range(2))
    with timed.transaction(consistent=consistent) as tx:
        tx.execute(vitals.insert(), [{"name": name, "seen_at": tx.now} for name in names])
        tx.execute(tx.insert(vitals).values(name=names[0], seen_at=tx.now).on_conflict_do_nothing())

    mine = vitals.select().where(vitals.c.name.in_(names)).order_by(vitals.c.name)
    with timed.reading(consistent=consistent) as tx:
        assert [row.name for row in tx.all(mine)] == names
        first = tx.first(mine)
        assert first is not None
        assert (first.name, first.seen_at) == (names[0], tx.now)
        assert tx.scalar(mine) == names[0]
        nothing = vitals.select().where(vitals.c.name == "nobody")
        assert (tx.first(nothing), tx.scalar(nothing), tx.all(nothing)) == (None, None, [])


def test_the_time_stands_still_within_a_transaction(runtime: Runtime) -> None:
    with runtime.transaction() as tx:
        assert tx.now is tx.now
        assert tx.settings is runtime.settings
        assert tx.keyring is runtime.tools.keyring
        assert tx.cache is runtime.tools.cache


def test_what_is_written_at_last_is_written_once_with_all_of_it(runtime: Runtime, meeting_id: str) -> None:
    seen: list[list[str]] = []

    def write(_tx: Transaction, items: list[str]) -> None:
        seen.append(items)

    with runtime.transaction() as tx:
        tx.at_last(write, "a")
        tx.emit(BellRang(meeting_id=meeting_id))
        tx.at_last(write, "b")
        assert seen == []
    assert seen == [["a", "b"]]
    with suppress(Undo), runtime.transaction() as tx:
        tx.at_last(write, "c")
        raise Undo
    assert len(seen) == 1


def names(tx: Transaction, beginning: str) -> list[tuple[str, datetime]]:
    rows = tx.all(select(leases).where(leases.c.name.startswith(beginning)).order_by(leases.c.name))
    return [(row.name.removeprefix(beginning), row.until) for row in rows]


def test_what_is_run_later_is_run_in_order_behind_all_the_rest(runtime: Runtime, meeting_id: str) -> None:
    name, now = f"later {new_id()} ", runtime.now()
    with statements_of(runtime) as said, runtime.transaction() as tx:
        tx.insert_later(leases, [{"name": name + "1", "until": now}])
        tx.insert_later(leases, [])
        tx.later(update(leases).where(leases.c.name == name + "1"), {"until": now + timedelta(1)})
        tx.at_last(lambda tx, items: tx.insert_later(leases, items), {"name": name + "2", "until": now})
        tx.emit(BellRang(meeting_id=meeting_id))
        tx.enqueue(DeleteRoom(room=meeting_id))
        assert not any("leases" in statement for statement in said)
    kinds = [word for statement in said for word in ("streams", "events", "outbox", "leases") if word in statement]
    assert kinds == ["streams", "events", "outbox", "leases", "leases", "leases"]
    with runtime.reading() as tx:
        assert names(tx, name) == [("1", now + timedelta(1)), ("2", now)]


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "behind an event and a job"])
def test_what_fails_later_undoes_all_of_it_and_is_raised(runtime: Runtime, meeting_id: str, is_alone: bool) -> None:
    name = f"twice {new_id()} "
    row = {"name": name + "1", "until": runtime.now()}

    def do() -> None:
        with runtime.transaction() as tx:
            if not is_alone:
                tx.emit(BellRang(meeting_id=meeting_id))
                tx.enqueue(DeleteRoom(room=meeting_id))
            for one in (row, row, {**row, "name": name + "2"}):
                tx.insert_later(leases, [one])

    with pytest.raises(exc.IntegrityError, match="leases"):
        do()
    with runtime.transaction() as tx:  # over a connection that is as good as before
        assert names(tx, name) == []
        assert tx.emit(BellRang(meeting_id=meeting_id)) == Position(meeting_stream(meeting_id), 1)
