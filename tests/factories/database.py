"""A database of a test's own, for what looks at whole tables or moves the clock for everybody."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy

from shared.core.database import Database
from shared.core.ids import new_id
from shared.core.ledger import installation
from shared.runtime import Runtime


@contextmanager
def own_database(beside: str, directory: Path) -> Iterator[str]:
    """Yield the URL of a new database with all tables: in `directory`, or on the server of the URL `beside`."""
    with empty_database(beside, directory) as url:
        _create_tables(url)
        yield url


@contextmanager
def empty_database(beside: str, directory: Path) -> Iterator[str]:
    """Yield the URL of a new database without tables."""
    name = f"parley_own_{secrets.token_hex(6)}"
    url = sqlalchemy.make_url(beside)
    if url.get_backend_name() == "sqlite":
        yield f"sqlite:///{directory}/{name}.db"
        return
    server = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def _create_tables(url: str) -> None:
    database = Database(url)
    database.metadata.create_all(database.engine)
    with database.connection() as connection:
        connection.execute(installation.insert().values(id=new_id(), epoch=new_id()))
    database.dispose()


@contextmanager
def on_own_database(runtime: Runtime, directory: Path) -> Iterator[Runtime]:
    """Yield the runtime, moved to a new database."""
    with own_database(runtime.database.url.render_as_string(hide_password=False), directory) as url:
        database = Database(url)
        yield replace(runtime, database=database)
        database.dispose()
