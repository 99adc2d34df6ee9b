"""The grammar of events and jobs."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import pytest

from shared.core.ids import new_id
from shared.core.messages import JOBS, Announcement, Job, MeetingEvent
from shared.core.streams import meeting_stream
from shared.livekit.jobs import DeleteRoom

pytestmark = pytest.mark.once


@dataclass(frozen=True, slots=True, kw_only=True)
class Rang(MeetingEvent):
    type: ClassVar[str] = "rang"


@pytest.fixture
def jobs() -> Iterator[dict[str, type[Job]]]:
    """The register of jobs, without what the test adds afterwards."""
    before = dict(JOBS)
    yield JOBS
    JOBS.clear()
    JOBS.update(before)


def test_an_announcement_belongs_to_the_stream_of_all_admitted_and_has_no_effect() -> None:
    meeting_id = new_id()
    rang = Rang(meeting_id=meeting_id)

    assert rang.stream == meeting_stream(meeting_id)
    assert rang.effect is None
    assert rang.actor_id is None
    assert not rang.final_word


def test_an_announcement_must_say_its_data() -> None:
    with pytest.raises(NotImplementedError):
        Announcement(meeting_id=new_id()).data()


def test_events_and_jobs_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Rang(meeting_id=new_id()).actor_id = "x"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        DeleteRoom(room="r").room = "x"  # type: ignore[misc]


def test_a_job_is_registered_by_its_name_as_the_class_that_is_used(jobs: dict[str, type[Job]]) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class WaterPlants(Job):
        name: ClassVar[str] = "plants.water"
        litres: int = 1

    assert jobs["plants.water"] is WaterPlants
    assert WaterPlants.lane == "default"
    assert WaterPlants(litres=3).payload() == {"litres": 3}


def test_a_job_without_a_name_is_refused(jobs: dict[str, type[Job]]) -> None:
    with pytest.raises(AttributeError):

        @dataclass(frozen=True, slots=True, kw_only=True)
        class Nameless(Job):
            pass
