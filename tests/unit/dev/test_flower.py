"""`make flower` looks at what `make run` started, from this machine alone."""

from pathlib import Path

import pytest

from dev.flower import NothingRuns, command, environment
from dev.launcher import BROKER_FILE

pytestmark = pytest.mark.once


def test_it_finds_the_broker_that_the_launcher_started(tmp_path: Path) -> None:
    with pytest.raises(NothingRuns, match="make run"):
        environment(tmp_path, {})
    kept = tmp_path / BROKER_FILE
    kept.parent.mkdir(parents=True)
    kept.write_text("redis://127.0.0.1:7001/0")
    assert environment(tmp_path, {})["REDIS_URL"] == "redis://127.0.0.1:7001/0"
    assert environment(tmp_path, {"REDIS_URL": "redis://mine/0"})["REDIS_URL"] == "redis://mine/0"


@pytest.mark.parametrize(("given", "port"), [({}, "5555"), ({"FLOWER_PORT": "7002"}, "7002")])
def test_it_listens_on_the_loopback_alone(given: dict[str, str], port: str) -> None:
    words = command(given)
    assert words[-3:] == ["flower", "--address=127.0.0.1", f"--port={port}"]
