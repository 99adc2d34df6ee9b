"""Migrations only add, so that the release before works on the tables of this one (docs/operate/upgrade.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

VERSIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
ADDING = {
    *("create_table", "create_index", "batch_alter_table", "add_column", "create_check_constraint", "f", "get_bind"),
    *("create_foreign_key", "create_unique_constraint", "bulk_insert", "execute"),
}
# What no release may do to tables that the one before reads and writes.
TAKING = ("DROP ", "RENAME ", "ALTER COLUMN", "DELETE FROM", "TRUNCATE")


def operations(upgrade: ast.FunctionDef) -> Iterator[ast.Call]:
    """Return what is called on `op`, and on the tables of its batches."""
    for node in ast.walk(upgrade):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("op", "table")
        ):
            yield node


def problems(source: str) -> list[str]:
    """Return what a migration's upgrade does that the release before could not live with."""
    (upgrade,) = (
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    )
    found = []
    for call in operations(upgrade):
        assert isinstance(call.func, ast.Attribute)
        text = ast.unparse(call)
        if call.func.attr not in ADDING:
            found.append(f"{call.func.attr} does not add")
        if call.func.attr == "add_column" and "nullable=False" in text and "server_default=" not in text:
            found.append(f"a column that must be given: {text}")
        if call.func.attr == "execute" and any(word in text.upper() for word in TAKING):
            found.append(f"a statement that takes away: {text}")
    return found


@pytest.mark.parametrize("path", sorted(VERSIONS.glob("0*.py")), ids=lambda path: path.stem)
def test_a_migration_only_adds(path: Path) -> None:
    assert problems(path.read_text()) == []


@pytest.mark.parametrize(
    "does",
    [
        'op.drop_column("meetings", "title")',
        'op.rename_table("meetings", "rooms")',
        'op.alter_column("meetings", "title", nullable=False)',
        'op.add_column("meetings", sa.Column("colour", sa.String(), nullable=False))',
        'op.execute("ALTER TABLE meetings RENAME COLUMN title TO name")',
        'with op.batch_alter_table("meetings") as table:\n        table.drop_constraint("ck_meetings_ended")',
    ],
)
def test_what_takes_something_away_is_found(does: str) -> None:
    assert len(problems(f"def upgrade():\n    {does}\n")) == 1


def test_there_are_migrations() -> None:
    assert len(list(VERSIONS.glob("0*.py"))) >= 10
