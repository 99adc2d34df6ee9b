"""A list as one parameter."""

import pytest
from sqlalchemy import select

from shared.core.ledger import streams
from shared.core.lists import one_of
from shared.runtime import Runtime

FOUND = select(streams.c.key).where(one_of(streams.c.key, "keys")).order_by(streams.c.key)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], []),
        (["list:a"], ["list:a"]),
        (["list:b", "list:a", "list:b"], ["list:a", "list:b"]),
        ({"list:none"}, []),
        (["list:'; --", 'list:"}', "list:ü,"], ['list:"}', "list:'; --", "list:ü,"]),
        ([f"list:{n}" for n in range(5000)], []),
    ],
)
def test_it_finds_what_is_asked_for(runtime: Runtime, wanted: list[str], found: list[str]) -> None:
    keys = ("list:a", "list:b", "list:'; --", 'list:"}', "list:ü,")
    with runtime.transaction() as tx:
        new = tx.insert(streams).on_conflict_do_nothing()
        tx.execute(new, [{"key": key, "meeting_id": "M", "seq": 1, "closed": False} for key in keys])
    with runtime.reading() as tx:
        assert sorted(row.key for row in tx.all(FOUND, {"keys": wanted})) == sorted(found)


def test_the_text_of_the_statement_does_not_depend_on_the_length(runtime: Runtime) -> None:
    with runtime.reading() as tx:
        texts = {str(FOUND.compile(tx.connection)) for _ in range(2)}
        assert len(texts) == 1
        assert "POSTCOMPILE" not in texts.pop()


@pytest.mark.once  # of SQLite; PostgreSQL plans by the size of the table
def test_rows_are_found_by_an_index(runtime: Runtime) -> None:
    with runtime.reading() as tx:
        statement = f"EXPLAIN QUERY PLAN {FOUND.compile(tx.connection)}"
        plan = [str(row) for row in tx.connection.exec_driver_sql(statement, ('["list:a"]',))]
    assert any("SEARCH streams" in line for line in plan)
    assert not any("SCAN streams" in line for line in plan)
