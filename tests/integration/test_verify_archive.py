"""`flask parley verify-archive`: an operator sees that what left the ledger is where it was brought, or what is not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import delete, update

from shared.core import ledger
from shared.core.keyring import Keyring
from shared.core.storage import Storage
from shared.core.streams import meeting_stream
from shared.core.tombstones import tombstones
from shared.retention import checking
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.factories.scene import UNKNOWN, Scene
from web.app import create_app
from workers.retention import archive_meeting


@pytest.fixture
def own(runtime: Runtime, tmp_path: Path) -> Iterator[Runtime]:
    with on_own_database(runtime, tmp_path) as moved:
        settings = replace(moved.settings, archive_url=str(tmp_path / "archive"))
        yield replace(moved, settings=settings, tools=replace(moved.tools, settings=settings))


@pytest.fixture
def meetings(own: Runtime) -> list[str]:
    """Three meetings with two events each, archived."""
    scene = Scene(own)
    host = scene.user()
    ids = [scene.meeting(host) for _ in range(3)]
    for id_ in ids:
        scene.end(id_)
        assert archive_meeting(own, Storage(own.settings.archive_url), id_, float("inf")) == 2
    scene.meeting(host)
    return ids


def verify(runtime: Runtime, *words: str) -> Result:
    return create_app(runtime).test_cli_runner().invoke(args=["parley", "verify-archive", *words])


def file_of(runtime: Runtime, meeting_id: str) -> Path:
    (file,) = Path(runtime.settings.archive_url, meeting_id).iterdir()
    return file


def test_a_whole_archive_is_counted(own: Runtime, meetings: list[str]) -> None:
    assert (verify(own).exit_code, verify(own).output) == (0, "ok   3 objects with 6 events, 0 wrong\n")
    told = verify(own, "--meeting", meetings[1])
    assert (told.exit_code, told.output) == (0, "ok   1 objects with 2 events, 0 wrong\n")


def test_an_object_that_is_missing_or_was_changed_is_named(own: Runtime, meetings: list[str]) -> None:
    missing, changed = file_of(own, meetings[0]), file_of(own, meetings[2])
    missing.unlink()
    changed.write_bytes(changed.read_bytes() + b"x")
    told = verify(own)
    assert told.exit_code == 1
    assert told.output.splitlines() == [
        f"BAD  {meetings[0]}/{missing.name}  the object is missing",
        f"BAD  {meetings[2]}/{changed.name}  the object was changed",
        "BAD  3 objects with 6 events, 2 wrong",
    ]
    assert verify(own, "--meeting", meetings[1]).exit_code == 0
    assert verify(own, "--meeting", meetings[2]).exit_code == 1


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"from_seq": 2, "event_count": 1}, {"object_key": "another"}, {"signature": ""}]
)
def test_a_tombstone_that_was_changed_is_named(own: Runtime, meetings: list[str], change: dict[str, object]) -> None:
    with own.transaction() as tx:
        tx.execute(update(tombstones).where(tombstones.c.meeting_id == meetings[0]).values(**change))
    told = verify(own, "--meeting", meetings[0])
    assert told.exit_code == 1
    assert f"the tombstone of {meeting_stream(meetings[0])} from" in told.output
    assert "was changed, or signed with another SECRET_KEY" in told.output
    assert verify(own, "--meeting", meetings[1]).exit_code == 0


def test_tombstones_of_another_secret_are_not_trusted(own: Runtime, meetings: list[str]) -> None:
    tools = replace(own.tools, keyring=Keyring("another secret"))
    assert verify(replace(own, tools=tools)).output.endswith("BAD  3 objects with 6 events, 3 wrong\n")


def test_events_that_are_in_neither_place_are_named(
    own: Runtime, meetings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "STREAMS", 1)
    running = meeting_stream(Scene(own).meeting(Scene(own).user()))
    with own.transaction() as tx:
        tx.execute(delete(tombstones).where(tombstones.c.meeting_id == meetings[0]))
        tx.execute(delete(ledger.events).where(ledger.events.c.stream == running))
    told = verify(own)
    assert told.exit_code == 1
    assert sorted(told.output.splitlines()[:2]) == sorted(
        [
            f"BAD  {meeting_stream(meetings[0])}  events up to 2 are archived, and there are tombstones for 0 of them",
            f"BAD  {running}  events from 1 to 1 are neither in the ledger nor in the archive",
        ]
    )
    assert told.output.endswith("BAD  2 objects with 4 events, 2 wrong\n")


def test_without_an_archive_there_is_nothing_wrong_unless_something_was_archived(
    own: Runtime, runtime: Runtime, tmp_path: Path
) -> None:
    none = replace(own, settings=replace(own.settings, archive_url=""))
    assert (verify(none).exit_code, verify(none).output) == (0, "ok   0 objects with 0 events, 0 wrong\n")
    id_ = Scene(own).meeting(Scene(own).user())
    archive_meeting(own, Storage(own.settings.archive_url), id_, float("inf"))
    told = verify(none)
    assert told.exit_code == 1
    assert "ARCHIVE_URL does not say where" in told.output


@pytest.mark.parametrize("id_", [UNKNOWN, "nonsense"])
def test_what_is_no_meeting_is_told_so(own: Runtime, id_: str) -> None:
    told = verify(own, "--meeting", id_)
    assert told.exit_code == 1
    assert f"There is no meeting {id_}." in told.output
