"""The chain of the audit trail: what was changed, deleted or inserted is found, and concurrent acts do not fork it."""

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import delete, select, text, update

from shared.audit.acts import Act, Party, hash_of
from shared.audit.chain import Checked, append, verify
from shared.audit.models import audit_events, audit_heads
from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.meetings import service as meetings
from shared.participants import moderation
from shared.runtime import Runtime
from tests.factories.database import on_own_database
from tests.factories.scene import Scene
from tests.factories.statements import statements_of

T = audit_events.c


@pytest.fixture(scope="module")
def own(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A database whose trails nothing guards, as for somebody who has taken the triggers away."""
    with on_own_database(runtime, tmp_path_factory.mktemp("own")) as moved:
        yield moved


def write(runtime: Runtime, meeting_id: str, *names: str) -> None:
    """Append a row for each name, in one transaction."""
    with runtime.transaction() as tx:
        for name in names:
            append(tx, Act(meeting_id=meeting_id, kind="meeting.end", actor=Party(name=name)))


def check(runtime: Runtime, meeting_id: str) -> Checked:
    with runtime.reading(consistent=True) as tx:
        return verify(tx, meeting_id)


@pytest.fixture
def five(own: Runtime) -> str:
    """A meeting with five rows."""
    scene = Scene(own)
    meeting_id = scene.meeting(scene.user(), start=False)
    write(own, meeting_id, "one", "two")
    write(own, meeting_id, "three", "four", "five")
    return meeting_id


def rehash(tx: Transaction, meeting_id: str, seq: int) -> None:
    """Give a row the hash that it should have."""
    row = tx.first(select(audit_events).where(T.meeting_id == meeting_id, T.seq == seq))
    assert row is not None
    tx.execute(
        update(audit_events).where(T.meeting_id == meeting_id, T.seq == seq).values(hash=hash_of(meeting_id, row))
    )


def change(name: str, value: Any, seq: int = 3, *, hashed: bool = False) -> Callable[[Transaction, str], None]:
    def tamper(tx: Transaction, meeting_id: str) -> None:
        tx.execute(update(audit_events).where(T.meeting_id == meeting_id, T.seq == seq).values({name: value}))
        if hashed:
            rehash(tx, meeting_id, seq)

    return tamper


def lose(*seqs: int) -> Callable[[Transaction, str], None]:
    def tamper(tx: Transaction, meeting_id: str) -> None:
        tx.execute(delete(audit_events).where(T.meeting_id == meeting_id, T.seq.in_(seqs)))

    return tamper


def lose_head(tx: Transaction, meeting_id: str) -> None:
    tx.execute(delete(audit_heads).where(audit_heads.c.meeting_id == meeting_id))


def add_behind_the_end(tx: Transaction, meeting_id: str) -> None:
    last = tx.first(select(audit_events).where(T.meeting_id == meeting_id, T.seq == 5))
    assert last is not None
    row = {**last._mapping, "seq": 6, "previous_hash": last.hash}
    tx.execute(audit_events.insert().values({**row, "hash": hash_of(meeting_id, row)}))


def put_between(tx: Transaction, meeting_id: str) -> None:
    """Move the last two rows up, and put another in front of them, as good as one can."""
    for seq in (5, 4):
        tx.execute(update(audit_events).where(T.meeting_id == meeting_id, T.seq == seq).values(seq=seq + 1))
    before = tx.first(select(audit_events).where(T.meeting_id == meeting_id, T.seq == 3))
    assert before is not None
    row = {**before._mapping, "seq": 4, "previous_hash": before.hash}
    tx.execute(audit_events.insert().values({**row, "hash": hash_of(meeting_id, row)}))
    rehash(tx, meeting_id, 5)
    rehash(tx, meeting_id, 6)


TAMPERED: dict[str, tuple[Callable[[Transaction, str], None], int, str]] = {
    "another name": (change("actor_name", "nobody"), 2, "row 3 was changed"),
    "another kind": (change("kind", "meeting.start"), 2, "row 3 was changed"),
    "another outcome": (change("outcome", "refused"), 2, "row 3 was changed"),
    "another target": (change("target_name", "somebody"), 2, "row 3 was changed"),
    "other details": (change("details", '{"a":1}'), 2, "row 3 was changed"),
    "another hash": (change("hash", "f" * 64), 2, "row 3 was changed"),
    "another name, hashed anew": (change("actor_name", "nobody", hashed=True), 3, "row 4 does not follow"),
    "the last row, hashed anew": (change("actor_name", "x", 5, hashed=True), 5, "row 5 is not the one that the head"),
    "a row in the middle is gone": (lose(3), 2, "row 3 was deleted"),
    "the first is gone": (lose(1), 0, "row 1 was deleted"),
    "the end is gone": (lose(4, 5), 3, "row 4 was deleted"),
    "all are gone": (lose(1, 2, 3, 4, 5), 0, "row 1 was deleted"),
    "the head is gone": (lose_head, 0, "row 1 was inserted"),
    "one is added behind the end": (add_behind_the_end, 5, "row 6 was inserted"),
    "one is put in between": (put_between, 4, "row 5 does not follow"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_the_first_broken_row_is_found(own: Runtime, five: str, name: str) -> None:
    tamper, good, wrong = TAMPERED[name]
    assert check(own, five).wrong is None
    with own.transaction() as tx:
        tamper(tx, five)
    found = check(own, five)
    assert found.rows == good
    assert found.wrong is not None
    assert found.wrong.startswith(wrong)


def test_a_whole_chain_is_good_and_a_meeting_without_acts_is_too(own: Runtime, five: str) -> None:
    scene = Scene(own)
    with own.reading() as tx:
        head = tx.first(select(audit_heads).where(audit_heads.c.meeting_id == five))
    assert head is not None
    assert check(own, five) == Checked(5, head.hash, None)
    assert check(own, scene.meeting(scene.user(), start=False)) == Checked(0, "0" * 64, None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor_name = 'x' WHERE meeting_id = :id",
        "UPDATE audit_events SET seq = seq + 100 WHERE meeting_id = :id",
        "DELETE FROM audit_events WHERE meeting_id = :id",
    ],
)
def test_the_database_itself_lets_nobody_change_or_delete_a_row(runtime: Runtime, statement: str) -> None:
    scene = Scene(runtime)
    meeting_id = scene.meeting(scene.user())
    with (
        pytest.raises((sqlalchemy.exc.DBAPIError, DomainError), match="can only grow"),
        runtime.transaction() as tx,
    ):
        tx.execute(text(statement), {"id": meeting_id})
    assert check(runtime, meeting_id).rows == 1


@pytest.mark.postgres_only
def test_nobody_empties_the_table_either(runtime: Runtime) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="can only grow"), runtime.transaction() as tx:
        tx.execute(text("TRUNCATE audit_events"))


def test_acts_at_the_same_time_do_not_fork_the_chain(runtime: Runtime) -> None:
    scene = Scene(runtime)
    meeting_id = scene.meeting(scene.user(), start=False)
    broken: list[Exception] = []
    gate = threading.Barrier(8)

    def act(number: int) -> None:
        try:
            gate.wait()
            for turn in range(5):
                write(runtime, meeting_id, f"{number}.{turn}a", f"{number}.{turn}b")
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=act, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert broken == []
    checked = check(runtime, meeting_id)
    assert (checked.rows, checked.wrong) == (80, None)


def test_an_act_that_is_rolled_back_leaves_no_row(runtime: Runtime) -> None:
    scene = Scene(runtime)
    host, ann = scene.user(), scene.user()
    meeting_id = scene.meeting(host)
    seat = scene.join(meeting_id, ann).participant.id
    scene.join(meeting_id, host)
    before = check(runtime, meeting_id).rows
    with pytest.raises(ZeroDivisionError), runtime.transaction() as tx:
        assert moderation.change(tx, meeting_id, host, seat, {"is_muted": True}).is_muted / 0
    assert check(runtime, meeting_id).rows == before


def test_what_the_system_does_is_told_of_as_nobodys(runtime: Runtime) -> None:
    scene = Scene(runtime)
    meeting_id = scene.meeting(scene.user())
    with runtime.transaction() as tx:
        meetings.end(tx, meeting_id, None)
    with runtime.reading() as tx:
        row = tx.first(select(audit_events).where(T.meeting_id == meeting_id, T.kind == "meeting.end"))
    assert row is not None
    assert (row.actor_participant_id, row.actor_user_id, row.actor_name) == (None, None, None)


def test_the_head_is_locked_after_every_stream(runtime: Runtime) -> None:
    scene = Scene(runtime)
    meeting_id = scene.meeting(scene.user())
    with statements_of(runtime) as said:
        scene.end(meeting_id)
    first = next(index for index, statement in enumerate(said) if "audit_heads" in statement)
    assert any("streams" in statement for statement in said[:first])
    new = re.compile(r"INSERT INTO (events|outbox|audit_\w+) ")  # rows that nobody else can want
    assert all("audit_heads" in statement or new.match(statement) for statement in said[first:])
