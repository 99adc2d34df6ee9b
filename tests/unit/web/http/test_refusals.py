"""A flood of refusals does not fill the audit trail, and none of them is forgotten."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from shared.audit.models import audit_events
from shared.core.background import Background
from shared.core.database import Database
from shared.core.errors import DomainError, InsufficientPermission, ValidationFailed
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.participants.errors import NotInside
from shared.participants.permissions import CHAT_DELETE, CHAT_DELETE_ANY, CHAT_SEND, MEETING_END, MEETING_READ
from shared.policies.errors import ChatDisabled, MaxParticipantsReached
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene
from web.http.refusals import Refusals


@pytest.fixture(autouse=True)
def minutes_end_when_the_test_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread settle beside the test, which moves the clock."""
    monkeypatch.setattr(Background, "wake", lambda _: None)


@pytest.fixture
def scene(runtime: Runtime) -> Scene:
    return Scene(runtime)


@pytest.fixture
def meeting_id(scene: Scene) -> str:
    return scene.meeting(scene.user())


def rows(runtime: Runtime, meeting_id: str) -> list[tuple[str, str | None, Any]]:
    """Return kind, actor and number of repetitions of the refusals that were written."""
    table = audit_events.c
    with runtime.reading() as tx:
        found = tx.all(
            select(audit_events)
            .where(table.meeting_id == meeting_id, table.outcome == "refused")
            .order_by(audit_events.c.seq)
        )
    return [(row.kind, row.actor_user_id, json.loads(row.details).get("repeated")) for row in found]


class Book:
    """Refusals whose minutes end when `settle` is called."""

    def __init__(self, runtime: Runtime, meeting_id: str, **options: Any) -> None:
        self.refusals = Refusals(runtime, **options)
        self.meeting_id = meeting_id

    def note(self, actor: Actor, refusal: DomainError | None = None, times: int = 1) -> None:
        for _ in range(times):
            self.refusals.note(refusal or InsufficientPermission(), self.meeting_id, actor, MEETING_END, "POST /end")


def test_the_first_is_written_at_once_and_the_others_are_not(runtime: Runtime, scene: Scene, meeting_id: str) -> None:
    book, ann = Book(runtime, meeting_id), scene.user()
    book.note(ann, times=50)
    assert rows(runtime, meeting_id) == [("meeting.end", ann.user_id, None)]


def test_none_is_forgotten_when_the_minute_is_over(
    runtime: Runtime, scene: Scene, meeting_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [1000.0]
    monkeypatch.setattr("web.http.refusals.time.monotonic", lambda: moment[0])
    book, ann = Book(runtime, meeting_id), scene.user()
    book.note(ann, times=50)
    assert book.refusals.settle() == 60.0
    moment[0] += 61
    assert book.refusals.settle() == 60.0  # it may go on
    assert rows(runtime, meeting_id) == [("meeting.end", ann.user_id, None), ("meeting.end", ann.user_id, 49)]
    book.note(ann, times=3)
    moment[0] += 61
    book.refusals.settle()
    assert rows(runtime, meeting_id)[2:] == [("meeting.end", ann.user_id, 3)]
    moment[0] += 61
    assert book.refusals.settle() is None
    book.note(ann)
    assert rows(runtime, meeting_id)[3:] == [("meeting.end", ann.user_id, None)]


def test_a_crowd_is_counted_together_and_other_meetings_are_not_touched_by_it(
    runtime: Runtime, scene: Scene, meeting_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [1000.0]
    monkeypatch.setattr("web.http.refusals.time.monotonic", lambda: moment[0])
    book = Book(runtime, meeting_id, per_meeting=3)
    people = [scene.user() for _ in range(8)]
    for person in people:
        book.note(person, times=2)
    assert [who for _, who, _ in rows(runtime, meeting_id)] == [person.user_id for person in people[:3]]
    other = scene.meeting(scene.user())
    book.refusals.note(InsufficientPermission(), other, people[7], MEETING_END, "POST /end")
    assert len(rows(runtime, other)) == 1
    moment[0] += 61
    book.refusals.settle()
    told = rows(runtime, meeting_id)
    assert told[-1] == ("meeting.end", None, 10)
    assert sum(count or 1 for _, _, count in told) == 16


def test_what_the_database_did_not_take_is_written_when_it_is_back(
    runtime: Runtime, scene: Scene, meeting_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [1000.0]
    monkeypatch.setattr("web.http.refusals.time.monotonic", lambda: moment[0])
    away = Database("sqlite:////nowhere/at/all.db")
    book, ann = Book(replace(runtime, database=away), meeting_id), scene.user()
    book.note(ann, times=2)
    assert rows(runtime, meeting_id) == []
    book.refusals._runtime = runtime
    moment[0] += 61
    book.refusals.settle()
    assert rows(runtime, meeting_id) == [("meeting.end", ann.user_id, 2)]
    away.dispose()


@pytest.mark.parametrize(
    ("refusal", "is_written"),
    [
        (InsufficientPermission(), True),
        (NotInside(), True),
        (ChatDisabled(), True),
        (MeetingNotFound(), True),
        (MaxParticipantsReached(), False),
        (ValidationFailed(), False),
    ],
)
def test_what_is_written_is_that_somebody_may_not(
    runtime: Runtime, scene: Scene, meeting_id: str, refusal: DomainError, is_written: bool
) -> None:
    Book(runtime, meeting_id).note(scene.user(), refusal)
    assert bool(rows(runtime, meeting_id)) == is_written


def test_the_kind_is_the_permission_that_was_missed(runtime: Runtime, scene: Scene, meeting_id: str) -> None:
    refusals, ann = Refusals(runtime), scene.user()
    missed = InsufficientPermission(details={"rule": CHAT_DELETE_ANY.name})
    refusals.note(missed, meeting_id, ann, CHAT_DELETE, "DELETE /chat")
    refusals.note(ChatDisabled(details={"rule": "chat_permissions"}), meeting_id, ann, CHAT_SEND, "frame chat")
    assert [kind for kind, _, _ in rows(runtime, meeting_id)] == ["chat.delete_any", "chat.send"]


def test_who_guesses_meetings_fills_no_memory(runtime: Runtime, scene: Scene) -> None:
    refusals, ann = Refusals(runtime), scene.user()
    for id_ in (UNKNOWN, "nonsense", "x" * 26):
        refusals.note(MeetingNotFound(), id_, ann, MEETING_READ, "GET /meetings")
    assert refusals._minutes == {}
