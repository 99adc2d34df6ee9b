"""Has a SQLite database the newest schema? Told without the application, which takes a second to import."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

_SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]+)")
_REVISION = re.compile(r'^(down_)?revision = "(\w+)"', re.MULTILINE)


def is_current(database_url: str, migrations: Path) -> bool:
    """Tell whether the database stands at the newest of the migrations. False also when that cannot be told."""
    named = _SQLITE.fullmatch(database_url)
    if named is None:
        return False
    try:
        path = Path(named[1]).absolute()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            stands_at = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.Error:
        return False
    return bool(stands_at) and stands_at == _newest(migrations)


def _newest(migrations: Path) -> set[str]:
    """Return the revisions that no other one follows."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in migrations.glob("*.py"):
        for down, revision in _REVISION.findall(file.read_text(encoding="utf-8")):
            (followed if down else revisions).add(revision)
    return revisions - followed
