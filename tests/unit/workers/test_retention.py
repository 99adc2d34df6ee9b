"""Events of meetings that are long over go into the archive: all of them, once, whatever breaks on the way."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from shared.chat import queries as chat_queries
from shared.chat import service as chat
from shared.core import ledger
from shared.core.locks import leases
from shared.core.metrics import FORGOTTEN
from shared.core.storage import Storage, StorageFailed
from shared.core.streams import hosts_stream, meeting_stream, personal_stream
from shared.core.tombstones import AlreadyArchived, EventsArchived, check_kept, tombstones
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.models import users
from shared.meetings.models import meetings
from shared.realtime.envelope import frame_of
from shared.retention import service as retention
from shared.runtime import Runtime
from shared.webhooks import endpoints
from shared.webhooks.endpoints import EndpointWish
from shared.webhooks.models import cursors
from shared.webhooks.models import endpoints as endpoint_table
from tests.factories.scene import Scene, change_place
from tests.fakes.clock import FakeClock
from workers import retention as worker
from workers.retention import archive
from workers.task import run_periodic

pytestmark = pytest.mark.usefixtures("alone")

HOT_DAYS = 30
Event = tuple[str, int]  # the key of a stream, and the number


@pytest.fixture
def keeping(bench: Runtime, tmp_path: Path) -> Runtime:
    """The runtime with an archive; nothing of earlier tests is to be archived."""
    with bench.transaction() as tx:
        tx.execute(update(meetings).where(meetings.c.ended_at.is_not(None)).values(archived_at=tx.now))
        tx.execute(delete(leases))  # of tests that moved the clock
    settings = replace(bench.settings, archive_url=str(tmp_path / "archive"), ledger_hot_days=HOT_DAYS)
    return replace(bench, settings=settings, tools=replace(bench.tools, settings=settings))


@pytest.fixture
def storage(keeping: Runtime) -> Storage:
    return Storage(keeping.settings.archive_url)


class Talk:
    """A meeting that has ended, with chat for all and a private message."""

    def __init__(self, scene: Scene) -> None:
        self.runtime, self.scene = scene.runtime, scene
        self.host, self.ann, self.bob = scene.user("Hedy"), scene.user("Ann"), scene.user("Bob")
        self.id = scene.meeting(self.host)
        scene.join(self.id, self.host)
        places = [scene.join(self.id, who).participant.id for who in (self.ann, self.bob)]
        self.say(self.ann, "to all \u2603")
        self.say(self.ann, "to one", recipient_id=places[1])
        self.say(self.bob, "last")
        scene.end(self.id)
        self.keys = [hosts_stream(self.id), meeting_stream(self.id), *map(personal_stream, sorted(places))]
        self.before = self.kept()

    def say(self, who: Actor, text: str, **more: Any) -> None:
        with self.runtime.transaction() as tx:
            chat.post(tx, self.id, who, chat.MessageWish(content=text, **more))

    def kept(self) -> dict[Event, bytes]:
        """Return the frames of the events that are in the ledger."""
        return {(e.stream, e.seq): frame_of(e) for key in self.keys for e in self.scene.events(key)}

    def archived(self, storage: Storage) -> dict[Event, bytes]:
        """Return the frames that tombstones stand for, from objects that are what they should be."""
        found: dict[Event, bytes] = {}
        with self.runtime.reading() as tx:
            rows = tx.all(select(tombstones).where(tombstones.c.meeting_id == self.id))
        for row in rows:
            body = storage.get(row.object_key)
            assert hashlib.sha256(body).hexdigest() == row.sha256
            for line in gzip.decompress(body).splitlines():
                event = json.loads(line)
                if event["stream_key"] == row.stream and row.from_seq <= event["seq"] <= row.to_seq:
                    frame = b"{" + line.partition(b",")[2]
                    assert (row.stream, event["seq"]) not in found
                    found[row.stream, event["seq"]] = frame
        return found

    def heads(self) -> dict[str, int]:
        with self.runtime.reading() as tx:
            return ledger.heads(tx.connection, self.keys)


@pytest.fixture
def talk(keeping: Runtime) -> Talk:
    return Talk(Scene(keeping))


def tombstone_count(runtime: Runtime) -> int:
    with runtime.reading() as tx:
        return int(tx.scalar(select(func.count()).select_from(tombstones)))


def check_nothing_is_lost(talk: Talk, storage: Storage) -> None:
    """Every event is in the ledger, or in a verified archive, as clients have seen it; and in one of them only."""
    kept, archived = talk.kept(), talk.archived(storage)
    assert kept | archived == talk.before
    assert not kept.keys() & archived.keys()


def test_without_an_archive_nothing_is_archived_and_nothing_deleted(
    keeping: Runtime, bench: Runtime, talk: Talk, clock: FakeClock
) -> None:
    clock.pass_(days=10 * HOT_DAYS)
    had = tombstone_count(bench)
    assert bench.settings.archive_url == ""
    assert archive(bench) == 0
    assert talk.kept() == talk.before
    assert tombstone_count(bench) == had


def test_events_go_when_the_meeting_has_been_over_for_so_long_and_not_before(
    keeping: Runtime, talk: Talk, storage: Storage, clock: FakeClock
) -> None:
    running = Scene(keeping).meeting(talk.host)
    clock.pass_(days=HOT_DAYS, seconds=-1)
    assert archive(keeping) == 0
    assert talk.kept() == talk.before

    clock.pass_(seconds=1)
    heads = talk.heads()
    counted = FORGOTTEN.labels("ledger_events")._value.get()
    assert archive(keeping) == len(talk.before)
    assert FORGOTTEN.labels("ledger_events")._value.get() - counted == len(talk.before)
    assert talk.kept() == {}
    assert talk.archived(storage) == talk.before
    assert talk.heads() == heads
    assert Scene(keeping).told(running) == ["meeting_status"]
    assert (archive(keeping), talk.archived(storage)) == (0, talk.before)


def test_the_chat_of_an_archived_meeting_is_read_as_before(keeping: Runtime, talk: Talk, clock: FakeClock) -> None:
    def read(who: Actor) -> list[Any]:
        with keeping.reading() as tx:
            return chat_queries.history(tx, talk.id, who, chat_queries.Page(limit=50))

    before = {who.name: read(who) for who in (talk.host, talk.ann, talk.bob)}
    assert Counter({name: len(said) for name, said in before.items()}) == {"Hedy": 2, "Ann": 3, "Bob": 3}
    clock.pass_(days=HOT_DAYS)
    archive(keeping)
    assert {who.name: read(who) for who in (talk.host, talk.ann, talk.bob)} == before


def test_a_large_meeting_is_archived_in_pieces_over_several_runs(
    keeping: Runtime, talk: Talk, storage: Storage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PIECE", 2)
    clock.pass_(days=HOT_DAYS)
    monkeypatch.setattr(worker, "RUN_SECONDS", 0.0)
    assert archive(keeping) == 2
    check_nothing_is_lost(talk, storage)
    with keeping.reading() as tx:
        kept = {key: ledger.read(tx.connection, key, 0, 1) for key in talk.keys}
        for key, rest in kept.items():
            first = rest[0].seq if rest else talk.heads()[key] + 1
            check_kept(tx.connection, key, first - 1)
            if first > 1:
                with pytest.raises(EventsArchived) as refused:
                    check_kept(tx.connection, key, first - 2)
                assert refused.value.details["archived_until"] == first - 1
    monkeypatch.undo()
    assert archive(keeping) == len(talk.before) - 2
    check_nothing_is_lost(talk, storage)
    assert talk.kept() == {}


# --- whatever breaks on the way


class Killed(BaseException):
    """Stands for kill -9: nobody catches it, and nothing that follows is done."""


def _breaks(*_: Any, **__: Any) -> Any:
    raise Killed


@contextmanager
def _dying_at(step: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real_put, real_bury = Storage.put, retention.bury

    def put_and_die(self: Storage, key: str, body: bytes) -> None:
        real_put(self, key, body)
        raise Killed

    def put_half(self: Storage, key: str, body: bytes) -> None:
        real_put(self, key, body[: len(body) // 2])

    def bury_and_die(tx: Transaction, piece: retention.Piece) -> bool:
        real_bury(tx, piece)
        raise Killed

    with monkeypatch.context() as patch:
        if step == "reading the events":
            patch.setattr(retention, "next_piece", _breaks)
        elif step == "storing":
            patch.setattr(Storage, "put", _breaks)
        elif step == "stored":
            patch.setattr(Storage, "put", put_and_die)
        elif step == "half of it stored":
            patch.setattr(Storage, "put", put_half)
        elif step == "reading back":
            patch.setattr(Storage, "get", _breaks)
        elif step == "deleting":
            patch.setattr(retention, "bury", _breaks)
        elif step == "before the commit":
            patch.setattr(retention, "bury", bury_and_die)
        else:
            patch.setattr(retention, "finish", _breaks)
        yield


STEPS = [
    *("reading the events", "storing", "stored", "half of it stored", "reading back", "deleting"),
    *("before the commit", "all done but the last word"),
]


@pytest.mark.parametrize("step", STEPS)
def test_cut_off_at_any_step_nothing_is_lost_and_the_next_run_ends_it(
    keeping: Runtime,
    talk: Talk,
    storage: Storage,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    clock.pass_(days=HOT_DAYS)
    for _ in range(2):
        with _dying_at(step, monkeypatch):
            if step == "half of it stored":
                assert run_periodic(keeping, "ledger.archive") == "failed"
            else:
                with pytest.raises(Killed):
                    run_periodic(keeping, "ledger.archive")
        check_nothing_is_lost(talk, storage)
        assert (talk.kept() == {}) == (step == "all done but the last word")
        clock.pass_(minutes=5)
    assert run_periodic(keeping, "ledger.archive") == "done"
    check_nothing_is_lost(talk, storage)
    assert talk.kept() == {}
    with keeping.reading() as tx:
        assert tx.scalar(select(meetings.c.archived_at).where(meetings.c.id == talk.id)) == clock.now()
    (file,) = Path(keeping.settings.archive_url, talk.id).iterdir()  # the same bytes under the same name, each time
    assert file.name.endswith(".jsonl.gz")


def test_two_at_once_have_one_effect(keeping: Runtime, talk: Talk, storage: Storage) -> None:
    with keeping.reading() as tx:
        piece = retention.next_piece(tx, talk.id)
        again = retention.next_piece(tx, talk.id)
    assert piece is not None
    assert piece == again
    storage.put(piece.key, piece.body)
    with keeping.transaction() as tx:
        assert retention.bury(tx, piece)

    def bury_again() -> None:
        with keeping.transaction() as tx:
            retention.bury(tx, piece)

    with pytest.raises(AlreadyArchived):
        bury_again()
    check_nothing_is_lost(talk, storage)


def test_a_storage_that_is_away_costs_nothing_but_time(
    keeping: Runtime, talk: Talk, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.pass_(days=HOT_DAYS)
    Path(keeping.settings.archive_url).write_text("a file where a directory should be")
    assert run_periodic(keeping, "ledger.archive") == "failed"
    assert "StorageFailed" in caplog.text
    assert talk.kept() == talk.before


def test_a_meeting_whose_events_are_missing_is_left_as_it_is_and_keeps_no_other_waiting(
    keeping: Runtime, clock: FakeClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MEETINGS", 1)
    scene = Scene(keeping)
    holed = [Talk(scene) for _ in range(3)]
    clock.pass_(seconds=1)
    whole = Talk(scene)
    events = ledger.events.c
    with keeping.transaction() as tx:
        for talk, seq in zip(holed, (1, 3, talk_head(holed[2])), strict=True):
            tx.execute(delete(ledger.events).where(events.stream == meeting_stream(talk.id), events.seq == seq))
    left = [talk.kept() for talk in holed]
    clock.pass_(days=HOT_DAYS)
    assert archive(keeping) == len(whole.before)
    assert [talk.kept() for talk in holed] == left
    assert caplog.text.count("LedgerIncomplete") >= 3


def talk_head(talk: Talk) -> int:
    return talk.heads()[meeting_stream(talk.id)]


# --- webhooks


@pytest.fixture
def endpoint_id(keeping: Runtime, talk: Talk) -> str:
    """An endpoint of the host, made when the meeting was over."""
    with keeping.transaction() as tx:
        endpoint, _ = endpoints.create(tx, talk.host, EndpointWish("https://203.0.114.7/hook", ("chat.message",)))
    return endpoint.id


def owe(runtime: Runtime, talk: Talk, endpoint_id: str, since: timedelta, seq: int = 2) -> None:
    """Let an endpoint have been told of the meeting up to a number."""
    with runtime.transaction() as tx:
        base = {"endpoint_id": endpoint_id, "meeting_id": talk.id, "stream": meeting_stream(talk.id), "seq": seq}
        tx.execute(cursors.insert().values(**base, attempts=0, since=tx.now - since, due_at=tx.now))


OLD, NEW = timedelta(days=HOT_DAYS), timedelta(hours=23)


@pytest.mark.parametrize(
    ("state", "since", "holds"),
    [
        ("behind", OLD, True),
        ("told all", OLD, False),
        ("no longer looked at", NEW, False),
        ("switched off", OLD, False),
        ("switched off", NEW, True),
        ("owner closed", OLD, False),
        ("owner no host", OLD, False),
    ],
)
def test_what_a_webhook_is_still_to_be_told_is_not_archived(
    keeping: Runtime, talk: Talk, clock: FakeClock, endpoint_id: str, state: str, since: timedelta, holds: bool
) -> None:
    clock.pass_(days=HOT_DAYS)
    owe(keeping, talk, endpoint_id, since, seq=talk_head(talk) if state == "told all" else 2)
    if state == "owner no host":
        change_place(keeping, talk.scene.place(talk.id, talk.host).id, role="attendee")
    with keeping.transaction() as tx:
        if state == "no longer looked at":
            tx.execute(update(cursors).values(due_at=None))
        elif state == "switched off":
            tx.execute(update(endpoint_table).values(is_enabled=False))
        elif state == "owner closed":
            tx.execute(update(users).where(users.c.id == talk.host.user_id).values(is_active=False))
    assert archive(keeping) == (0 if holds else len(talk.before))
    with keeping.reading() as tx:
        is_there = tx.first(select(cursors).where(cursors.c.meeting_id == talk.id)) is not None
    assert is_there == holds  # a cursor behind events that are gone would be looked at for ever


def test_what_is_to_be_sent_again_since_the_events_were_stored_stays(
    keeping: Runtime, talk: Talk, storage: Storage, endpoint_id: str
) -> None:
    with keeping.reading() as tx:
        piece = retention.next_piece(tx, talk.id)
    assert piece is not None
    storage.put(piece.key, piece.body)
    with keeping.transaction() as tx:
        endpoints.replay(tx, talk.host, endpoint_id, talk.id, 1)
    with keeping.transaction() as tx:
        assert not retention.bury(tx, piece)
    assert talk.kept() == talk.before


def test_what_was_archived_cannot_be_sent_again_and_leaves_no_cursor(
    keeping: Runtime, talk: Talk, clock: FakeClock, endpoint_id: str
) -> None:
    clock.pass_(days=HOT_DAYS)
    archive(keeping)

    def replay() -> None:
        with keeping.transaction() as tx:
            endpoints.replay(tx, talk.host, endpoint_id, talk.id, 1)

    with pytest.raises(EventsArchived) as refused:
        replay()
    assert refused.value.details == {"stream": "meeting", "archived_until": talk_head(talk)}
    with keeping.reading() as tx:
        assert tx.all(select(cursors).where(cursors.c.meeting_id == talk.id)) == []


def test_a_storage_that_gives_back_something_else_is_not_trusted(
    keeping: Runtime, talk: Talk, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Storage, "get", lambda *_: b"something else")
    with pytest.raises(StorageFailed, match="not what was stored"):
        worker.archive_meeting(keeping, storage, talk.id, float("inf"))
    assert talk.kept() == talk.before
