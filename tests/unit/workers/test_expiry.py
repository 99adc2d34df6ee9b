"""What is over is forgotten, in chunks, and nothing else is."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from shared.core import idempotency, locks, outbox
from shared.core.idempotency import idempotency_keys
from shared.core.ids import new_id
from shared.core.ledger import streams
from shared.core.locks import leases
from shared.core.metrics import FORGOTTEN
from shared.core.settings import Settings, environment_name
from shared.core.transaction import Transaction
from shared.identity import service as identity
from shared.identity.api_keys import KEEP
from shared.identity.models import api_keys, refresh_tokens, sessions, users
from shared.jobs import service as job_service
from shared.jobs.models import SUCCEEDED, jobs
from shared.livekit import inbox as livekit_inbox
from shared.livekit.jobs import DeleteRoom
from shared.livekit.models import inbox
from shared.meetings.models import meetings
from shared.participants.attempts import attempts
from shared.participants.tickets import TICKET_SECONDS, tickets
from shared.runtime import Runtime
from shared.webhooks import endpoints as webhooks
from shared.webhooks.models import cursors, deliveries, endpoints
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from workers import expiry
from workers.expiry import FORGET, forget, forget_by_kind

DAY = timedelta(days=1)
A_MOMENT = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def empty(bench: Runtime) -> None:
    """Nothing to forget is left of an earlier test."""
    with bench.transaction() as tx:
        for table in (tickets, idempotency_keys, refresh_tokens, sessions, outbox.outbox, inbox, api_keys, jobs):
            tx.execute(table.delete())
        for table in (attempts, endpoints, leases):  # with an endpoint go its cursors and deliveries
            tx.execute(table.delete())


def count(runtime: Runtime, table: Table) -> int:
    with runtime.reading() as tx:
        return int(tx.scalar(select(func.count()).select_from(table)))


def add_tickets(tx: Transaction, number: int) -> None:
    base = {"meeting_id": new_id(), "participant_id": new_id(), "token_expires_at": tx.now}
    rows = [{"digest": new_id(), "expires_at": tx.now, **base} for _ in range(number)]
    tx.execute(tickets.insert(), [*rows, {"digest": new_id(), "expires_at": tx.now + 2 * DAY, **base}])


def add_keys(tx: Transaction, number: int) -> None:
    rows = [{"digest": new_id(), "body_digest": "", "created_at": tx.now} for _ in range(number)]
    tx.execute(idempotency_keys.insert(), [*rows, {**rows[0], "digest": new_id(), "created_at": tx.now + 2 * DAY}])


def add_done(tx: Transaction, number: int) -> None:
    errands = outbox.write(tx.connection, {new_id(): DeleteRoom(room="r") for _ in range(number + 1)}, tx.now)
    done = [errand.id for errand in errands[1:]]
    change = {"state": "done", "finished_at": tx.now}
    tx.execute(outbox.outbox.update().where(outbox.outbox.c.id.in_(done)).values(**change))


def add_events(tx: Transaction, number: int) -> None:
    base = {"digest": "", "type": "room_started", "body": "{}"}
    rows = [{"id": new_id(), "received_at": tx.now, **base} for _ in range(number)]
    tx.execute(inbox.insert(), [*rows, {"id": new_id(), "received_at": tx.now + 2 * DAY, **base}])


def add_attempts(tx: Transaction, number: int) -> None:
    base = {"meeting_id": new_id(), "failures": 1, "began_at": tx.now}
    rows = [{"client": new_id(), **base} for _ in range(number)]
    tx.execute(attempts.insert(), [*rows, {**base, "client": new_id(), "began_at": tx.now + 2 * DAY}])


def add_leases(tx: Transaction, number: int) -> None:
    rows = [{"name": new_id(), "until": tx.now} for _ in range(number)]
    tx.execute(leases.insert(), [*rows, {"name": new_id(), "until": tx.now + 2 * DAY}])


def new_user(tx: Transaction) -> str:
    user = {"id": new_id(), "email": f"{new_id().lower()}@example.com", "name": "Olga", "password_hash": "none"}
    tx.execute(users.insert().values(**user, is_active=True, created_at=tx.now))
    return str(user["id"])


def new_meeting(tx: Transaction, **state: Any) -> str:
    meeting = {"id": new_id(), "host_id": new_user(tx), "title": "M", "created_at": tx.now}
    tx.execute(meetings.insert().values(**meeting, **state))
    return str(meeting["id"])


def add_api_keys(tx: Transaction, number: int) -> None:
    base = {"user_id": new_user(tx), "name": "Server", "digest": "", "scopes": ["chat:read"], "created_at": tx.now}
    rows = [{"id": new_id(), "prefix": str(one), "revoked_at": tx.now, **base} for one in range(number)]
    tx.execute(api_keys.insert(), [*rows, {"id": new_id(), "prefix": "alive", "revoked_at": None, **base}])


def add_refresh_tokens(tx: Transaction, number: int) -> None:
    session = {"id": new_id(), "user_id": new_user(tx), "created_at": tx.now, "expires_at": tx.now + 100 * DAY}
    tx.execute(sessions.insert().values(**session))
    base = {"session_id": session["id"], "created_at": tx.now}
    rows = [{"id": new_id(), "used_at": tx.now, **base} for _ in range(number)]
    tx.execute(refresh_tokens.insert(), [*rows, {"id": new_id(), "used_at": None, **base}])


def add_jobs(tx: Transaction, number: int) -> None:
    base = {
        **{"kind": "k", "meeting_id": new_meeting(tx), "participant_id": new_id(), "user_name": "H", "position": ""},
        **{"wish": {}, "result": {}, "done": 0, "total": 0, "created_at": tx.now},
    }
    over = {"status": SUCCEEDED, "finished_at": tx.now}
    rows = [{"id": new_id(), **base, **over} for _ in range(number)]
    tx.execute(jobs.insert(), [*rows, {"id": new_id(), **base, "status": "queued", "finished_at": None}])


def add_endpoints(tx: Transaction, number: int) -> list[str]:
    base = {"user_id": new_user(tx), "url": "https://203.0.114.7", "events": [], "is_enabled": True, "secret": ""}
    rows = [{"id": new_id(), "failures": 0, "created_at": tx.now, **base} for _ in range(number)]
    tx.execute(endpoints.insert(), rows)
    return [str(row["id"]) for row in rows]


def add_deliveries(tx: Transaction, number: int) -> None:
    (endpoint_id,) = add_endpoints(tx, 1)
    base = {"endpoint_id": endpoint_id, "event": "chat.message", "state": "delivered", "attempts": 1}
    rows = [{"id": new_id(), "created_at": tx.now, **base} for _ in range(number)]
    tx.execute(deliveries.insert(), [*rows, {"id": new_id(), "created_at": tx.now + 20 * DAY, **base}])


def add_cursors(tx: Transaction, number: int) -> None:
    """Half of them of a meeting that ended and half of one that was cancelled; one was not told to the end."""
    ended = new_meeting(tx, status="completed", started_at=tx.now, ended_at=tx.now)
    cancelled = new_meeting(tx, status="cancelled")
    tx.execute(streams.insert(), [{"key": f"m:{id_}", "meeting_id": id_, "seq": 3} for id_ in (ended, cancelled)])
    rows = [
        {
            **{"endpoint_id": id_, "meeting_id": cancelled if one % 2 else ended, "attempts": 0, "since": tx.now},
            **{"seq": 3, "due_at": tx.now, "stream": f"m:{cancelled if one % 2 else ended}"},
        }
        for one, id_ in enumerate(add_endpoints(tx, number + 1))
    ]
    tx.execute(cursors.insert(), [{**rows[0], "seq": 2}, *rows[1:]])


@pytest.mark.parametrize(
    ("kind", "add", "table", "keep"),
    [
        ("tickets", add_tickets, tickets, timedelta(0)),
        ("passcode_attempts", add_attempts, attempts, timedelta(minutes=15)),
        ("idempotency_keys", add_keys, idempotency_keys, DAY + A_MOMENT),
        ("outbox", add_done, outbox.outbox, DAY + A_MOMENT),
        ("livekit_events", add_events, inbox, DAY),
        ("api_keys", add_api_keys, api_keys, KEEP + A_MOMENT),
        ("refresh_tokens", add_refresh_tokens, refresh_tokens, 30 * DAY + A_MOMENT),
        ("jobs", add_jobs, jobs, DAY + A_MOMENT),
        ("webhook_deliveries", add_deliveries, deliveries, webhooks.KEEP + A_MOMENT),
        ("webhook_cursors", add_cursors, cursors, DAY + A_MOMENT),
        ("leases", add_leases, leases, DAY + A_MOMENT),
    ],
)
def test_rows_whose_time_is_over_go_in_chunks_and_the_others_stay(
    bench: Runtime,
    clock: FakeClock,
    kind: str,
    add: Callable[[Transaction, int], None],
    table: Table,
    keep: timedelta,
) -> None:
    with bench.transaction() as tx:
        add(tx, 1201)  # two chunks of 500 and a rest
    clock.pass_(seconds=keep.total_seconds() - 1)
    if keep:
        assert forget(bench) == 0

    clock.pass_(seconds=1)
    counted = FORGOTTEN.labels(kind)._value.get()
    assert forget_by_kind(bench) == Counter({kind: 1201})
    assert FORGOTTEN.labels(kind)._value.get() - counted == 1201
    assert count(bench, table) == 1
    assert forget(bench) == 0


def test_ended_sessions_go_a_day_later_with_their_refresh_tokens(
    bench: Runtime, scene: Scene, clock: FakeClock
) -> None:
    ended, alive = scene.user(), scene.user()
    assert ended.session_id is not None
    with bench.transaction() as tx:
        identity.revoke(tx, ended.session_id, "logout")
    clock.pass_(days=1)
    assert forget(bench) == 0

    clock.pass_(seconds=1)
    assert forget(bench) == 1
    with bench.reading() as tx:
        assert [row.session_id for row in tx.all(refresh_tokens.select())] == [alive.session_id]


@pytest.mark.parametrize(
    ("state", "is_due", "gone"), [("in_progress", True, 0), ("in_progress", False, 0), ("completed", False, 1)]
)
def test_a_cursor_that_nobody_is_told_by_goes_when_the_meeting_is_over(
    bench: Runtime, clock: FakeClock, state: str, is_due: bool, gone: int
) -> None:
    with bench.transaction() as tx:
        ended_at = tx.now if state == "completed" else None
        meeting_id = new_meeting(tx, status=state, started_at=tx.now, ended_at=ended_at)
        tx.execute(streams.insert().values(key=f"m:{meeting_id}", meeting_id=meeting_id, seq=3))
        base = {"endpoint_id": add_endpoints(tx, 1)[0], "meeting_id": meeting_id, "stream": f"m:{meeting_id}"}
        due_at = tx.now if is_due else None
        tx.execute(cursors.insert().values(**base, seq=2, attempts=0, since=tx.now, due_at=due_at))
    clock.pass_(days=2)
    assert forget_by_kind(bench) == Counter({"webhook_cursors": gone})
    assert forget(bench) == 0


def test_a_run_is_bounded_and_the_next_one_goes_on(bench: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "RUN_SECONDS", 0.0)
    with bench.transaction() as tx:
        add_tickets(tx, 700)

    assert [forget(bench) for _ in range(3)] == [500, 200, 0]


def test_each_chunk_is_a_transaction_of_its_own_and_kinds_take_turns(
    bench: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = iter([500, 500, 3, 0])
    transactions: list[Transaction] = []
    turns: list[str] = []

    def much(tx: Transaction) -> int:
        transactions.append(tx)
        turns.append("much")
        return next(chunks)

    def little(tx: Transaction) -> int:
        turns.append("little")
        return 0

    monkeypatch.setattr(expiry, "FORGET", {"much": much, "little": little})

    assert forget(bench) == 1003
    assert len(set(map(id, transactions))) == len(transactions) == 4
    assert turns == ["much", "little", "much", "much", "much"]


def test_a_kind_that_cannot_be_forgotten_keeps_no_other_from_being_forgotten(
    bench: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(tx: Transaction) -> int:
        tx.execute(tickets.delete())
        raise RuntimeError("locked")

    monkeypatch.setattr(expiry, "FORGET", {"broken": breaks, **FORGET})
    with bench.transaction() as tx:
        add_tickets(tx, 3)

    assert forget_by_kind(bench) == Counter({"tickets": 3})
    assert count(bench, tickets) == 1
    assert "not_forgotten" in caplog.text


def test_the_page_of_retention_tells_of_every_kind_how_long_it_is_kept(project: Path) -> None:
    page = (project / "docs/operate/retention.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]+\| ([^|]+) \|$", page, re.MULTILINE))
    assert rows.keys() == FORGET.keys()
    told = {
        "tickets": timedelta(seconds=TICKET_SECONDS),
        "idempotency_keys": idempotency.KEEP,
        "api_keys": KEEP,
        "livekit_events": livekit_inbox.KEEP,
        "jobs": job_service.KEPT,
        "webhook_deliveries": webhooks.KEEP,
        "outbox": outbox.KEEP_DONE,
        "leases": locks.KEEP,
    }
    assert {kind: rows[kind] for kind in told} == {kind: _words(length) for kind, length in told.items()}
    settings = {environment_name(each) for each in fields(Settings)}
    assert set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page)) - settings <= BUCKET_NAMES | {"EVENTS_ARCHIVED"}


BUCKET_NAMES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT"}


def _words(length: timedelta) -> str:
    if length > DAY:
        return f"{length.days} days"
    seconds = int(length.total_seconds())
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds} s"
