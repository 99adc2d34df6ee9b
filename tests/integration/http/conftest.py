"""What the tests of the HTTP door share."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.runtime import Runtime, build_runtime
from tests.factories.world import Person, World
from web.app import create_app
from web.http import limits


@pytest.fixture
def make_world(runtime: Runtime) -> Iterator[Callable[..., World]]:
    """Make a world with other settings. The limiter is one for the process: it is switched off again at the end."""
    built: list[Runtime] = []

    def make(**changes: Any) -> World:
        own = build_runtime(replace(runtime.settings, **changes))
        built.append(own)
        return World(create_app(own), own)

    yield make
    limits.limiter.enabled = False
    limits.limiter._storage_dead = False
    for own in built:
        own.database.dispose()


@pytest.fixture
def host(world: World) -> Person:
    """Somebody who hosts."""
    return world.person("Hedy Host")
