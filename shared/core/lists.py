"""`column IN (…)` with the list as one parameter: the statement stays the same text however long the list is.

SQLAlchemy's own IN writes a placeholder for each value. That is rendered anew at each execution, and PostgreSQL, which
keeps the plan of a text it has seen several times, sees a new one each time.
"""

from collections.abc import Collection
from typing import Any

import orjson
from sqlalchemy import ARRAY, Column, Dialect, String, Subquery, Text, TypeDecorator, bindparam, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeEngine


class _Strings(TypeDecorator[Collection[str]]):
    """Strings: an array for PostgreSQL, and JSON for SQLite, which has no arrays."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(String()))

    def process_bind_param(self, value: Collection[str] | None, dialect: Dialect) -> Any:
        strings = list(value or ())
        return orjson.dumps(strings).decode() if dialect.name == "sqlite" else strings


class one_of(FunctionElement[bool]):  # noqa: N801  reads as the SQL function it stands for
    """The condition that a column of strings is one of those given at the execution as parameter `name`."""

    inherit_cache = True
    # No Boolean: SQLite has none, SQLAlchemy would therefore add `= 1`, and SQLite would then look at every row.
    type = NullType()  # type: ignore[assignment]

    def __init__(self, column: Column[Any], name: str) -> None:
        super().__init__(column, bindparam(name, type_=_Strings()))


class _items(FunctionElement[str]):  # noqa: N801  reads as the SQL function it stands for
    """The strings that are given at the execution as parameter `name`, as a table's only column."""

    inherit_cache = True

    def __init__(self, name: str) -> None:
        super().__init__(bindparam(name, type_=_Strings()))


def how_often(name: str) -> Subquery:
    """Return a table of the different strings that are given as parameter `name` (`item`), and how often each is there
    (`times`)."""
    items = _items(name).table_valued("value")
    return select(items.c.value.label("item"), func.count().label("times")).group_by(items.c.value).subquery()


@compiles(_items)
def _unnest(element: Any, compiler: Any, **options: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **options)}) AS value)"


@compiles(_items, "sqlite")
def _json_each(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(one_of)
def _any(element: Any, compiler: Any, **options: Any) -> str:
    column, strings = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({strings})"


@compiles(one_of, "sqlite")
def _in_json(element: Any, compiler: Any, **options: Any) -> str:
    column, strings = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({strings}))"  # noqa: S608  both are rendered by the compiler
