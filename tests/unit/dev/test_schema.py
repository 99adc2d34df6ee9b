"""Whether a SQLite database needs migrations, told without the application."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from dev.schema import is_current
from tests.stack import migrate

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "parley.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def migrations(project: Path) -> Path:
    return project / "migrations" / "versions"


def test_a_migrated_database_is_current(migrated: Path, migrations: Path) -> None:
    assert is_current(f"sqlite:///{migrated}", migrations)


def test_a_new_migration_makes_it_old(migrated: Path, migrations: Path, tmp_path: Path) -> None:
    for file in migrations.glob("*.py"):
        shutil.copy(file, tmp_path)
    newest = max(path.name.partition("_")[0] for path in tmp_path.glob("*.py"))
    (tmp_path / "9999_more.py").write_text(f'revision = "9999"\ndown_revision = "{newest}"\n')

    assert not is_current(f"sqlite:///{migrated}", tmp_path)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://parley@127.0.0.1/parley", "sqlite://", "sqlite:////nowhere/at/all.db"],
)
def test_what_cannot_be_told_is_not_current(url: str, migrations: Path) -> None:
    assert not is_current(url, migrations)


def test_a_database_that_was_never_migrated_is_not_current_and_not_created(migrations: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    assert not is_current(f"sqlite:///{empty}", migrations)
    assert not empty.exists()
    with sqlite3.connect(empty) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    connection.close()

    assert not is_current(f"sqlite:///{empty}", migrations)
