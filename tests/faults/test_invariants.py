"""Every invariant finds what breaks it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from shared.core.ids import new_id
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.faults.invariants import QUESTIONS, heads_of, rows_of, violations

pytestmark = pytest.mark.postgres_only

NOW = "now()"


@pytest.fixture
def scene(runtime: Runtime) -> Scene:
    return Scene(runtime)


@pytest.fixture
def meeting_id(scene: Scene) -> str:
    """A running meeting with a host and an attendee inside."""
    host = scene.user()
    made = scene.meeting(host)
    scene.join(made, host)
    scene.join(made, scene.user())
    return made


@pytest.fixture
def connection(runtime: Runtime, meeting_id: str) -> Iterator[Connection]:
    """A transaction that is undone."""
    with runtime.database.engine.connect() as opened:
        yield opened
        opened.rollback()


def broken(connection: Connection, about: str) -> set[str]:
    """Return the numbers of the invariants that are broken for something."""
    return {each.split(" ")[0] for each in violations(connection) if about in each}


def test_a_meeting_as_it_should_be_breaks_nothing(connection: Connection, meeting_id: str) -> None:
    assert not broken(connection, meeting_id)


@pytest.mark.parametrize(
    ("number", "statement"),
    [
        ("I1", "UPDATE streams SET seq = seq + 1 WHERE key = 'm:' || :m"),
        ("I1", "DELETE FROM events WHERE stream = 'm:' || :m AND seq = 2"),
        ("I1", "DELETE FROM streams WHERE key = 'm:' || :m"),
        ("I1", "UPDATE streams SET archived_seq = 1 WHERE key = 'm:' || :m"),
        ("I3", "UPDATE meetings SET seats_taken = seats_taken + 1 WHERE id = :m"),
        ("I3", "UPDATE meetings SET seats_taken = 101 WHERE id = :m"),
        (
            "I12",
            """INSERT INTO events
            SELECT stream, n, meeting_id, 'meeting_status', NULL, '{"action":"ended"}', NULL, now()
            FROM events, (VALUES (98), (99)) v(n) WHERE stream = 'm:' || :m AND seq = 1""",
        ),
    ],
)
def test_what_is_wrong_with_a_meeting_is_found(
    connection: Connection, meeting_id: str, number: str, statement: str
) -> None:
    connection.execute(text(statement), {"m": meeting_id})
    assert number in broken(connection, meeting_id)


@pytest.mark.parametrize(
    ("number", "statement"),
    [
        ("I4", "UPDATE stays SET left_at = now() + interval '1 hour', left_seq = 99 WHERE participant_id = :p"),
        ("I4", "UPDATE meeting_participants SET status = 'left' WHERE id = :p"),
        ("I5", "UPDATE stays SET left_seq = 1, entered_seq = 2 WHERE participant_id = :p"),
        ("I5", "UPDATE meetings SET status = 'completed', ended_at = now() WHERE id = :m"),
    ],
)
def test_what_is_wrong_with_a_stay_is_found(
    connection: Connection, meeting_id: str, number: str, statement: str
) -> None:
    found = connection.execute(
        text("SELECT p.id, s.id FROM meeting_participants p JOIN stays s ON s.participant_id = p.id"
             " WHERE p.meeting_id = :m LIMIT 1"),
        {"m": meeting_id},
    ).one()  # fmt: skip
    wanted = {"p": found[0], "m": meeting_id}
    connection.execute(text(statement), {name: value for name, value in wanted.items() if f":{name}" in statement})
    assert number in broken(connection, found[0]) | broken(connection, found[1])


@pytest.mark.parametrize("state", ["pending", "done"])
def test_a_job_that_never_ends_or_never_began_is_found(connection: Connection, state: str) -> None:
    job = new_id()
    connection.execute(
        text("INSERT INTO outbox (id, name, lane, payload, state, attempts, next_at, created_at) VALUES"
             " (:id, 'a.job', 'default', '{}', :state, 0, now(), now() - interval '11 minutes')"),
        {"id": job, "state": state},
    )  # fmt: skip
    assert broken(connection, job) == {"I14"}


def test_every_question_can_be_asked_and_the_ledger_read(connection: Connection, meeting_id: str) -> None:
    assert len(QUESTIONS) == 11
    stream = f"m:{meeting_id}"
    rows = rows_of(connection, [stream])
    assert [row.seq for row in rows] == list(range(1, heads_of(connection, [stream])[stream] + 1))
