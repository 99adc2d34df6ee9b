"""Two beats where one is enough; and how worker and beat end."""

import itertools
import time
from pathlib import Path

import pytest

from shared.core.ids import new_id
from shared.core.vitals import WORKER, vitals
from tests.integration.workers.conftest import Ground, eventually
from tests.integration.workers.jobs import Count, Work

REDBEAT = "redbeat.RedBeatScheduler"
TAKEOVER_SECONDS = 20


@pytest.fixture(scope="module", autouse=True)
def processes(ground: Ground) -> None:
    """A worker; the tests start their beats."""
    ground.start_worker()


def last_sign(ground: Ground) -> float:
    with ground.runtime.reading() as tx:
        at = tx.scalar(vitals.select().with_only_columns(vitals.c.seen_at).where(vitals.c.name == WORKER))
    return float(at.timestamp())


def has_signed_since(ground: Ground, moment: float) -> bool:
    return last_sign(ground) > moment


def wait_for_a_sign(ground: Ground, since: float) -> None:
    eventually(lambda: has_signed_since(ground, since), 30)


def test_the_second_beat_takes_over_when_the_first_is_killed(ground: Ground) -> None:
    """The first beat holds a lock in Valkey; the second waits for it."""
    ground.stack.start_beat("first", scheduler=REDBEAT)
    eventually(lambda: has_signed_since(ground, time.time() - 1), 15)
    ground.stack.start_beat("second", scheduler=REDBEAT)
    time.sleep(3)
    ground.stack.kill("first")
    killed = time.time()
    time.sleep(1)  # what was on its way has arrived

    eventually(lambda: has_signed_since(ground, killed + 1), TAKEOVER_SECONDS - 1)
    assert ground.stack.processes["second"].poll() is None
    ground.stack.processes["second"].terminate()
    assert ground.stack.processes["second"].wait(10) == 0


def test_two_beats_without_a_common_lock_still_have_one_effect_a_period(ground: Ground) -> None:
    """Celery's own scheduler knows nothing of the other; the lease in the database does."""
    names = ["one", "two"]
    for name in names:
        ground.stack.start_beat(name)
    moments: set[float] = set()
    eventually(lambda: has_signed_since(ground, time.time() - 0.5), 15)

    def seen() -> int:
        moments.add(last_sign(ground))
        return len(moments)

    eventually(lambda: seen() >= 4, 30)  # how long four periods take on a busy machine is not what is asked
    for name in names:
        ground.stack.kill(name)

    signs = sorted(moments)
    gaps = [later - earlier for earlier, later in itertools.pairwise(signs)]
    assert min(gaps) >= 1.6  # 0.8 of the period of two seconds


def written(file: Path) -> list[str]:
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("seconds", [1.5, 60.0], ids=["short", "longer than the shutdown waits"])
def test_a_worker_told_to_stop_finishes_its_task_or_gives_it_back(
    ground: Ground, tmp_path: Path, seconds: float
) -> None:
    """As in docker/compose.yml: SIGTERM is Celery's SIGQUIT, a soft shutdown."""
    file = tmp_path / "work"
    name = f"stopped-{new_id()}"
    with ground.only(name, REMAP_SIGTERM="SIGQUIT", TEST_SHUTDOWN_SECONDS="3"):
        ids = ground.enqueue(Work(file=str(file), seconds=seconds))
        eventually(lambda: written(file) == ["began"], 20)
        process = ground.stack.processes[name]
        process.terminate()
        assert process.wait(3 + 6) == 0
    assert "Traceback" not in ground.stack.log_of(name)
    if seconds < 3:
        assert written(file) == ["began", "ended"]
        assert ground.states(ids) == {"done"}
    else:
        ground.are_done(ids, 10)
        assert written(file) == ["began", "began", "ended"]


def test_a_worker_with_nothing_in_hand_stops_at_once(ground: Ground) -> None:
    """Nobody waits twenty seconds for nothing when workers are replaced."""
    name = f"idle-{new_id()}"
    with ground.only(name, REMAP_SIGTERM="SIGQUIT"):
        ground.are_done(ground.enqueue(Count(label=name)), 20)
        time.sleep(1)  # it hears of the end a moment after the database does
        process = ground.stack.processes[name]
        process.terminate()
        assert process.wait(15) == 0
    assert "Traceback" not in ground.stack.log_of(name)


def test_a_beat_told_to_stop_ends_cleanly(ground: Ground) -> None:
    for name, scheduler in (("plain", None), ("red", REDBEAT)):
        ground.stack.start_beat(name, scheduler=scheduler)
        wait_for_a_sign(ground, time.time())
        process = ground.stack.processes[name]
        process.terminate()

        assert process.wait(10) == 0
        assert "Traceback" not in ground.stack.log_of(name)
