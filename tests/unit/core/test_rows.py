"""Several rows at once are what they are one by one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, exc, select, update

from shared.core import ledger
from shared.core.ids import new_id
from shared.core.locks import leases
from shared.core.outbox import outbox
from shared.core.rows import insert_rows, inserting
from shared.runtime import Runtime
from tests.factories.statements import statements_of

TEXTS = [
    "",
    "plain",
    "'quoted' \"twice\" \\ %s %% :name",
    "a\nb\tc\u2028",
    "žluťoučký 漢字 🏳️‍🌈",
    "null",
    "[1]",
    "\ufeff",
]
NUMBERS = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1]
TIMES = [datetime(2026, 2, 28, 23, 59, 59, 999_999, UTC), datetime(1970, 1, 1, tzinfo=UTC)]
PAYLOADS: list[Any] = [{}, {"a": [1, 2.5, None, True], "ž": {"\\": "'"}}, {"n": 2**53 - 1}]


def event(stream: str, seq: int, number: int) -> dict[str, Any]:
    return {
        "stream": f"{stream}{number % 3}",
        "seq": seq,
        "meeting_id": stream,
        "type": "bell",
        "actor_id": None if number % 2 else stream,
        "data": TEXTS[number % len(TEXTS)],
        "effect": TEXTS[(number + 1) % len(TEXTS)],
        "created_at": TIMES[number % len(TIMES)],
    }


def job(number: int) -> dict[str, Any]:
    return {
        "id": new_id(),
        "name": TEXTS[number % len(TEXTS)][:20],
        "lane": "default",
        "payload": PAYLOADS[number % len(PAYLOADS)],
        "state": "dead",
        "attempts": number,
        "next_at": TIMES[number % len(TIMES)],
        "created_at": TIMES[0],
        "request_id": None,
        "trace": TEXTS[number % len(TEXTS)],
    }


@pytest.mark.parametrize("how_many", [1, 2, 40])
def test_events_come_back_as_they_went_in(runtime: Runtime, how_many: int) -> None:
    stream = new_id()
    rows = [event(stream, NUMBERS[n % len(NUMBERS)] - n, n) for n in range(how_many)]
    with runtime.transaction() as tx:
        insert_rows(tx.connection, ledger.events, rows)
        found = tx.all(select(ledger.events).where(ledger.events.c.meeting_id == stream))

    def key(row: dict[str, Any]) -> tuple[str, int]:
        return row["stream"], row["seq"]

    assert sorted((dict(row._mapping) for row in found), key=key) == sorted(rows, key=key)


@pytest.mark.parametrize("how_many", [1, 2, 40])
def test_jobs_come_back_as_they_went_in(runtime: Runtime, how_many: int) -> None:
    rows = [job(n) for n in range(how_many)]
    ids = [row["id"] for row in rows]
    with runtime.transaction() as tx:
        insert_rows(tx.connection, outbox, rows)
        found = {row.id: row for row in tx.all(select(outbox).where(outbox.c.id.in_(ids)))}
        tx.execute(delete(outbox).where(outbox.c.id.in_(ids)))
    for row in rows:
        assert row.items() <= dict(found[row["id"]]._mapping).items()


def test_nothing_is_inserted_without_a_statement(runtime: Runtime) -> None:
    with statements_of(runtime) as said, runtime.transaction() as tx:
        before = len(said)
        insert_rows(tx.connection, outbox, [])
        assert len(said) == before


@pytest.mark.postgres_only
def test_the_statement_is_the_same_however_many_rows_there_are(runtime: Runtime) -> None:
    stream = new_id()
    with statements_of(runtime) as said, runtime.transaction() as tx:
        for count in (2, 3, 60):
            insert_rows(tx.connection, ledger.events, [event(stream, count * 100 + n, n) for n in range(count)])
    assert len({statement for statement in said if "events" in statement}) == 1


@pytest.mark.postgres_only
def test_what_is_too_long_for_its_column_is_refused_and_not_cut(runtime: Runtime) -> None:
    row = {"name": new_id(), "until": TIMES[0]}
    with pytest.raises(exc.DataError, match="too long"), runtime.transaction() as tx:
        insert_rows(tx.connection, leases, [row, {**row, "name": "x" * 81}])


def test_a_naive_time_is_refused(runtime: Runtime) -> None:
    rows = [{"name": new_id(), "until": datetime(2026, 1, 1)} for _ in range(2)]
    with pytest.raises((TypeError, exc.StatementError)), runtime.transaction() as tx:
        insert_rows(tx.connection, leases, rows)


@pytest.mark.parametrize("how_many", [1, 2])
def test_nothing_in_a_column_of_json_is_no_value(runtime: Runtime, how_many: int) -> None:
    rows = [{**job(n), "payload": None} for n in range(how_many)]
    with pytest.raises(exc.IntegrityError), runtime.transaction() as tx:  # payload is NOT NULL
        insert_rows(tx.connection, outbox, rows)


def keep_the_later(new: Any) -> Any:
    is_earlier = leases.c.until < new.excluded.until
    return new.on_conflict_do_update(index_elements=["name"], set_={"until": new.excluded.until}, where=is_earlier)


@pytest.mark.parametrize("how_many", [1, 3])
def test_what_is_there_may_be_told_apart(runtime: Runtime, how_many: int) -> None:
    names = [f"{new_id()} {n}" for n in range(how_many)]
    dialect = runtime.database.engine.dialect.name
    with runtime.transaction() as tx:
        for until in (TIMES[1], TIMES[0], TIMES[1]):
            rows = [{"name": name, "until": until} for name in names]
            tx.execute(*inserting(dialect, leases, rows, keep_the_later))
        assert set(tx.connection.scalars(select(leases.c.until).where(leases.c.name.in_(names)))) == {TIMES[0]}
        tx.execute(update(leases).where(leases.c.name.in_(names)).values(until=TIMES[1]))
