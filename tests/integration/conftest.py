"""What the tests of several processes share."""

from collections.abc import Iterator

import pytest
from flask import Flask

from shared.core.settings import Settings
from shared.runtime import Runtime
from tests.factories.world import World
from tests.integration.arena import Arena
from tests.stack import Stack


@pytest.fixture(scope="module")
def arena(
    settings: Settings, runtime: Runtime, app: Flask, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    """Two web processes without workers: what races here is decided by the database."""
    with Stack(settings, tmp_path_factory.mktemp("races"), webs=2, with_workers=False) as stack:
        yield Arena(stack, World(app, runtime))
