"""An installation of its own for the small benchmarks: PostgreSQL or SQLite, Valkey, processes."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dev.postgres import Postgres
from dev.valkey import Valkey
from shared.core.settings import Settings
from shared.runtime import build_runtime
from tests.factories.world import World
from tests.stack import Stack, migrate
from web.app import create_app


@contextmanager
def site(database: str, webs: int, *, with_workers: bool = False) -> Iterator[tuple[Stack, World]]:
    """Start it on an empty database, and stop it at the end. The World makes people in this process."""
    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
        if database == "postgres":
            url = held.enter_context(Postgres()).create_database("bench")
        else:
            url = f"sqlite:///{directory}/parley.db"
        migrate(url)
        settings = Settings(
            env="test",
            secret_key=secrets.token_urlsafe(48),
            jwt_secret_key=secrets.token_urlsafe(48),
            database_url=url,
            redis_url=held.enter_context(Valkey()).url,
            ratelimit_enabled=False,
        )
        stack = held.enter_context(Stack(settings, directory, webs=webs, with_workers=with_workers))
        runtime = build_runtime(settings)
        held.callback(runtime.database.dispose)
        yield stack, World(create_app(runtime), runtime)
