"""`flask parley verify-audit`: an operator sees that a trail is whole, or where it is not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import delete, update

from shared.audit.models import audit_events
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.factories.scene import UNKNOWN, Scene
from web.app import create_app


@pytest.fixture
def own(runtime: Runtime, tmp_path: Path) -> Iterator[Runtime]:
    with on_own_database(runtime, tmp_path) as moved:
        yield moved


@pytest.fixture
def meetings(own: Runtime) -> list[str]:
    """Three meetings, each with two acts."""
    scene = Scene(own)
    host = scene.user()
    ids = [scene.meeting(host) for _ in range(3)]
    for id_ in ids:
        scene.end(id_, host.user_id)
    return ids


def verify(runtime: Runtime, *words: str) -> Result:
    return create_app(runtime).test_cli_runner().invoke(args=["parley", "verify-audit", *words])


def test_whole_trails_are_counted_and_the_end_of_one_can_be_noted_down(own: Runtime, meetings: list[str]) -> None:
    told = verify(own)
    assert (told.exit_code, told.output) == (0, "ok   3 trails, 6 rows good, 0 trails broken\n")
    told = verify(own, "--meeting", meetings[0])
    assert told.exit_code == 0
    assert re.match(rf"ok   {meetings[0]}  row 2, [0-9a-f]{{64}}\n", told.output)


def test_a_broken_trail_is_named_with_its_first_broken_row(own: Runtime, meetings: list[str]) -> None:
    table = audit_events.c
    with own.transaction() as tx:
        tx.execute(update(audit_events).where(table.meeting_id == meetings[1], table.seq == 1).values(actor_name="X"))
        tx.execute(delete(audit_events).where(table.meeting_id == meetings[2], table.seq == 2))
    told = verify(own)
    assert told.exit_code == 1
    assert told.output.splitlines() == [
        f"BAD  {meetings[1]}  row 1 was changed after it was written",
        f"BAD  {meetings[2]}  row 2 was deleted: the head of the chain stands at row 2",
        "BAD  3 trails, 3 rows good, 2 trails broken",
    ]
    assert verify(own, "--meeting", meetings[0]).exit_code == 0
    assert verify(own, "--meeting", meetings[1]).exit_code == 1


def test_an_installation_without_meetings_has_nothing_broken(own: Runtime) -> None:
    assert (verify(own).exit_code, verify(own).output) == (0, "ok   0 trails, 0 rows good, 0 trails broken\n")


@pytest.mark.parametrize("id_", [UNKNOWN, "nonsense"])
def test_what_is_no_meeting_is_told_so(own: Runtime, id_: str) -> None:
    told = verify(own, "--meeting", id_)
    assert told.exit_code == 1
    assert f"There is no meeting {id_}." in told.output
