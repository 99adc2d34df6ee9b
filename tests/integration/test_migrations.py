"""Migrations lead from nothing to exactly the tables that the code declares, and back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy
from flask import Flask

from shared.core.ledger import installation
from shared.core.settings import Settings
from shared.models import METADATA
from shared.runtime import Runtime, build_runtime
from tests.factories.database import empty_database
from web.app import create_app


@pytest.fixture
def migrations(project: Path) -> str:
    return str(project / "migrations")


@pytest.fixture
def empty(settings: Settings, database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """The runtime on a database without tables."""
    with empty_database(database_url, tmp_path) as url:
        runtime = build_runtime(replace(settings, database_url=url))
        yield runtime
        runtime.database.dispose()


@pytest.fixture
def moved(empty: Runtime) -> Iterator[Flask]:
    app = create_app(empty)
    with app.app_context():
        yield app


def shape_of(runtime: Runtime) -> dict[str, Any]:
    """Return what the database says of its tables, in an order that does not depend on how they came about."""
    inspector = sqlalchemy.inspect(runtime.database.engine)
    return {
        name: {
            "columns": sorted((c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)),
            "key": inspector.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted((str(i["name"]), bool(i["unique"])) for i in inspector.get_indexes(name)),
            "unique": sorted(str(u["name"]) for u in inspector.get_unique_constraints(name)),
            "foreign": sorted(str(f["constrained_columns"]) for f in inspector.get_foreign_keys(name)),
            "checks": sorted(str(c["name"]) for c in inspector.get_check_constraints(name)),
        }
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }


def test_up_down_and_up_again_gives_the_same_tables_and_nothing_is_missing(
    moved: Flask, empty: Runtime, migrations: str
) -> None:
    flask_migrate.upgrade(migrations)
    first = shape_of(empty)
    assert first.keys() == METADATA.tables.keys()
    flask_migrate.check(migrations)  # leaves the process when a migration is missing

    flask_migrate.downgrade(migrations, revision="base")
    assert shape_of(empty) == {}

    flask_migrate.upgrade(migrations)
    assert shape_of(empty) == first


def test_each_installation_gets_an_epoch_of_its_own(moved: Flask, empty: Runtime, migrations: str) -> None:
    epochs = set()
    for _ in range(2):
        flask_migrate.upgrade(migrations)
        with empty.reading() as tx:
            (row,) = tx.all(installation.select())
        epochs.add(row.epoch)
        flask_migrate.downgrade(migrations, revision="base")

    assert len(epochs) == 2


def test_upgrading_what_is_newest_already_changes_nothing(moved: Flask, empty: Runtime, migrations: str) -> None:
    flask_migrate.upgrade(migrations)
    before = shape_of(empty)
    flask_migrate.upgrade(migrations)

    assert shape_of(empty) == before


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("outbox", ["state", "next_at"]),
        ("meetings", ["status", "deadline_at"]),
        ("meetings", ["status", "started_at"]),
        ("events", ["stream", "seq"]),
        ("events", ["meeting_id", "created_at"]),
        ("streams", ["meeting_id"]),
        ("meetings", ["ended_at", "id"]),
        ("ledger_tombstones", ["stream", "from_seq"]),
        ("webhook_cursors", ["meeting_id"]),
        ("ledger_tombstones", ["object_key"]),
        ("ledger_tombstones", ["meeting_id"]),
        ("meeting_participants", ["meeting_id", "user_id"]),
        ("meeting_participants", ["meeting_id", "status"]),
        ("meeting_participants", ["user_id"]),
        ("meeting_participants", ["presence", "disconnected_at"]),
        ("stays", ["participant_id"]),
        ("stays", ["meeting_id"]),
        ("invitations", ["email"]),
        ("connections", ["process_id"]),
        ("connections", ["participant_id"]),
        ("processes", ["lease_until"]),
        ("sessions", ["user_id"]),
        ("sessions", ["expires_at"]),
        ("refresh_tokens", ["session_id"]),
        ("refresh_tokens", ["used_at"]),
        ("ws_tickets", ["expires_at"]),
        ("idempotency_keys", ["created_at"]),
        ("chat_messages", ["meeting_id", "position"]),
        ("chat_reactions", ["message_id"]),
        ("policies", ["meeting_id"]),
        ("users", ["email"]),
    ],
)
def test_what_is_looked_up_often_has_an_index(runtime: Runtime, table: str, columns: list[str]) -> None:
    inspector = sqlalchemy.inspect(runtime.database.engine)
    keys: list[Any] = [inspector.get_pk_constraint(table)["constrained_columns"]]
    keys += [index["column_names"] for index in inspector.get_indexes(table)]
    keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]

    assert any(key[: len(columns)] == columns for key in keys)


def test_the_database_itself_keeps_anybody_from_being_inside_twice(runtime: Runtime) -> None:
    (index,) = [
        i for i in sqlalchemy.inspect(runtime.database.engine).get_indexes("stays") if i["name"] == "uq_stays_open"
    ]

    assert index["unique"]
