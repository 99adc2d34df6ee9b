"""What several of the long tests use."""

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import psycopg
import pytest

from shared.core.messages import JOBS
from tests.faults.site import Site
from workers.task import JOB_TASKS


@pytest.fixture
def poison(site: Site) -> Iterator[ModuleType]:
    """The jobs that misbehave, known to this process for the length of a test."""
    before = dict(JOBS), dict(JOB_TASKS)
    module = importlib.import_module("tests.faults.poison")
    with site.connect() as connection:
        connection.execute(module.EFFECTS)
    yield module
    for register, entries in zip((JOBS, JOB_TASKS), before, strict=True):
        register.clear()  # type: ignore[attr-defined]
        register.update(entries)  # type: ignore[attr-defined]


@pytest.fixture
def database(site: Site) -> Iterator["psycopg.Connection[Any]"]:
    """A connection to the site's database, past all proxies."""
    with site.connect() as connection:
        yield connection
