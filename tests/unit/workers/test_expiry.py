"""What is over is forgotten, in chunks, and nothing else is."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Table, func, select

from shared.core import outbox
from shared.core.idempotency import idempotency_keys
from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.identity import service as identity
from shared.identity.api_keys import KEEP
from shared.identity.models import api_keys, refresh_tokens, sessions, users
from shared.jobs.models import SUCCEEDED, jobs
from shared.livekit.jobs import DeleteRoom
from shared.livekit.models import inbox
from shared.meetings.models import meetings
from shared.participants.tickets import tickets
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from workers import expiry
from workers.expiry import forget

DAY = timedelta(days=1)
A_MOMENT = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def empty(bench: Runtime) -> None:
    """Nothing to forget is left of an earlier test."""
    with bench.transaction() as tx:
        for table in (tickets, idempotency_keys, refresh_tokens, sessions, outbox.outbox, inbox, api_keys, jobs):
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


def add_api_keys(tx: Transaction, number: int) -> None:
    owner = {"id": new_id(), "email": f"{new_id().lower()}@example.com", "name": "Olga", "password_hash": "none"}
    tx.execute(users.insert().values(**owner, is_active=True, created_at=tx.now))
    base = {"user_id": owner["id"], "name": "Server", "digest": "", "scopes": ["chat:read"], "created_at": tx.now}
    rows = [{"id": new_id(), "prefix": str(one), "revoked_at": tx.now, **base} for one in range(number)]
    tx.execute(api_keys.insert(), [*rows, {"id": new_id(), "prefix": "alive", "revoked_at": None, **base}])


def add_jobs(tx: Transaction, number: int) -> None:
    host = {"id": new_id(), "email": f"{new_id().lower()}@example.com", "name": "Hosta", "password_hash": "none"}
    tx.execute(users.insert().values(**host, is_active=True, created_at=tx.now))
    meeting = {"id": new_id(), "host_id": host["id"], "title": "M", "created_at": tx.now}
    tx.execute(meetings.insert().values(**meeting))
    base = {
        **{"kind": "k", "meeting_id": meeting["id"], "participant_id": new_id(), "user_name": "Hosta", "position": ""},
        **{"wish": {}, "result": {}, "done": 0, "total": 0, "created_at": tx.now},
    }
    over = {"status": SUCCEEDED, "finished_at": tx.now}
    rows = [{"id": new_id(), **base, **over} for _ in range(number)]
    tx.execute(jobs.insert(), [*rows, {"id": new_id(), **base, "status": "queued", "finished_at": None}])


@pytest.mark.parametrize(
    ("add", "table", "keep"),
    [
        (add_tickets, tickets, timedelta(0)),
        (add_keys, idempotency_keys, DAY + A_MOMENT),
        (add_done, outbox.outbox, DAY + A_MOMENT),
        (add_events, inbox, DAY),
        (add_api_keys, api_keys, KEEP + A_MOMENT),
        (add_jobs, jobs, DAY + A_MOMENT),
    ],
    ids=["tickets", "keys", "outbox", "events", "api keys", "jobs"],
)
def test_rows_whose_time_is_over_go_in_chunks_and_the_others_stay(
    bench: Runtime, clock: FakeClock, add: Callable[[Transaction, int], None], table: Table, keep: timedelta
) -> None:
    with bench.transaction() as tx:
        add(tx, 1201)  # two chunks of 500 and a rest
    clock.pass_(seconds=keep.total_seconds() - 1)
    if keep:
        assert forget(bench) == 0

    clock.pass_(seconds=1)
    assert forget(bench) == 1201
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


def test_a_run_is_bounded_and_the_next_one_goes_on(
    bench: Runtime, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "CHUNKS", 1)
    with bench.transaction() as tx:
        add_tickets(tx, 700)

    assert [forget(bench) for _ in range(3)] == [500, 200, 0]


def test_each_chunk_is_a_transaction_of_its_own(bench: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = iter([500, 500, 3, 0])
    transactions = []

    def chunk(tx: Transaction) -> int:
        transactions.append(tx)
        return next(chunks)

    monkeypatch.setattr(expiry, "FORGET", (chunk,))

    assert forget(bench) == 1003
    assert len(set(map(id, transactions))) == len(transactions) == 4
