"""Inserting several rows: with one statement and one parameter, whose text does not depend on how many there are.

For PostgreSQL they are JSON, which it reads itself. Rows as VALUES would be another text for each number of them, which
SQLAlchemy renders, the driver parses and PostgreSQL plans anew each time: measured with sixteen rows, a quarter of what
a transaction costs its process. SQLite is given them one by one.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Connection, Executable, Table, TableValuedAlias, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects.postgresql import JSON

from shared.core.database import insert_for

Rows = Sequence[dict[str, Any]]
Conflict = Callable[[Any], Any]


def insert_rows(connection: Connection, table: Table, rows: Rows, conflict: Conflict | None = None) -> None:
    """Insert rows, all of the same columns; `conflict` as for `inserting`."""
    if rows:
        connection.execute(*inserting(connection.dialect.name, table, rows, conflict))


def inserting(
    dialect: str, table: Table, rows: Rows, conflict: Conflict | None = None, others: Collection[str] = ()
) -> tuple[Executable, Any]:
    """Return the statement that inserts rows, at least one and all of the same columns, and its parameters.

    `conflict`, a function of a module, adds ON CONFLICT and RETURNING to the INSERT that it gets; `others` are the
    names of what it needs besides, which are in each row and the same in all.
    """
    names = tuple(name for name in rows[0] if name not in others)
    if dialect == "sqlite" or len(rows) == 1:
        return _one(dialect, table, conflict), rows if len(rows) > 1 else rows[0]
    json = orjson.dumps([{name: row[name] for name in names} for row in rows], _aware, orjson.OPT_PASSTHROUGH_DATETIME)
    return _several(table, names, conflict), {"rows": json.decode(), **{name: rows[0][name] for name in others}}


def _aware(value: Any) -> str:
    """Return how PostgreSQL reads a time, one of the field's type (`UtcDateTime`)."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{value!r} cannot be one of several values of a column")
    return value.isoformat()


@cache
def _one(dialect: str, table: Table, conflict: Conflict | None) -> Any:
    new = insert_for(dialect, table)
    return new if conflict is None else conflict(new)


@cache
def _several(table: Table, names: Sequence[str], conflict: Conflict | None) -> Any:
    new = insert_for("postgresql", table).from_select(names, select(_rows_of(table, names)))
    return new if conflict is None else conflict(new)


def _rows_of(table: Table, names: Sequence[str]) -> TableValuedAlias:
    given = func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON))
    columns = given.table_valued(*(column(name, table.c[name].type) for name in names))
    return columns.render_derived(name="given", with_types=True)
