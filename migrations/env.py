"""Alembic's environment: the tables and the engine are those of the application (Flask-Migrate)."""

from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy import text

from shared.core.database import UtcDateTime

database = current_app.extensions["migrate"].db


def render_item(kind: str, item: Any, autogen_context: Any) -> str | bool:
    """Write our own column types as what the database sees."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    """Migrate online. On PostgreSQL a migration that cannot get its lock gives up and can be run again (P19)."""
    with database.engine.connect() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        if is_postgresql:
            connection.execute(text("SET lock_timeout = '2s'"))
            connection.execute(text("SET statement_timeout = 0"))
            connection.connection.driver_connection.patience = None  # an index may take its time
            connection.commit()
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            compare_type=True,
            render_as_batch=not is_postgresql,
            render_item=render_item,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
