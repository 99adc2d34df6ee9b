"""Outcomes: what follows when a receiver has answered, or has not (contract 10, promise P16).

Taken: the cursor moves on. Not taken: it waits, longer each time; the endpoint's circuit opens after some failures in a
row, of whatever meetings; and after 24 hours there is a dead letter, and the cursor moves on. A receiver that asks for
a longer pause (`Retry-After`) has it, from all its meetings, for an hour at most.

Every transaction locks the endpoint before a cursor, if it needs both.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, or_, select, update

from shared.core import ledger
from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.webhooks.delivering import TRIPS_AT, Post, Turn, key_of, posts_of
from shared.webhooks.models import DEAD, DELIVERED, FAILED, PENDING, RETRYING, cursors, deliveries, endpoints
from shared.webhooks.sending import Answer

TRIED_FOR = timedelta(hours=24)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 5.0, 3600.0


def delay(attempts: int) -> timedelta:
    """Return how long to wait after so many failures: 5 s, 10 s, 20 s … one hour."""
    return timedelta(seconds=min(FIRST_DELAY_SECONDS * 2.0 ** (min(attempts, 20) - 1), LONGEST_DELAY_SECONDS))


def settle(tx: Transaction, turn: Turn, post: Post, answer: Answer, *, was_failing: bool) -> bool:
    """Draw the consequences of an answer. Returns whether the turn goes on with the next event.

    Locks the endpoint, as whoever changes or deletes it does, and then the cursor.
    """
    is_trouble = was_failing or not answer.is_taken
    endpoint = tx.first(
        select(endpoints).where(endpoints.c.id == turn.endpoint_id).with_for_update(key_share=True, read=not is_trouble)
    )
    if endpoint is None:
        return False
    if not answer.is_taken:
        _put_off(tx, turn, endpoint, post, answer)
        return False
    is_left_alone = endpoint.open_until is not None and endpoint.open_until > tx.now
    if was_failing and not is_left_alone:
        _close_circuit(tx, endpoint)  # what was on its way when the circuit opened proves nothing
    end = {"due_at": tx.now, "run": None, "leased_until": None} if is_left_alone else {}
    moved = tx.execute(update(cursors).where(turn.is_mine).values(seq=post.seq, attempts=0, **end))
    if moved.rowcount:
        _note(tx, turn, post, DELIVERED, answer)
    return bool(moved.rowcount) and not is_left_alone


def _close_circuit(tx: Transaction, endpoint: Row[Any]) -> None:
    """Forget what failed; if others were waiting for the circuit, they need not wait any longer."""
    tx.execute(
        update(endpoints).where(endpoints.c.id == endpoint.id).values(failures=0, failing_since=None, open_until=None)
    )
    if endpoint.open_until is not None:
        waiting = (
            select(cursors.c.meeting_id)
            .where(cursors.c.endpoint_id == endpoint.id, cursors.c.due_at > tx.now)
            .with_for_update(skip_locked=True)
        )
        tx.execute(
            update(cursors)
            .where(cursors.c.endpoint_id == endpoint.id, cursors.c.meeting_id.in_(waiting))
            .values(due_at=tx.now)
        )


def _put_off(tx: Transaction, turn: Turn, endpoint: Row[Any], post: Post, answer: Answer) -> None:
    """Let an event wait, or give it up when it was tried for TRIED_FOR, and count a failure of the endpoint.

    Nothing counts of a turn that was taken back: the receiver is another one since, or begins anew.
    """
    row = tx.first(update(cursors).where(turn.is_mine).values(attempts=cursors.c.attempts + 1).returning(cursors))
    if row is None:
        return
    is_over = max(row.since, post.happened_at) <= tx.now - TRIED_FOR
    asked = timedelta(seconds=min(answer.wait_seconds, LONGEST_DELAY_SECONDS))
    due_at = tx.now + max(delay(row.attempts), asked)
    after = {"seq": post.seq, "attempts": 0, "due_at": tx.now} if is_over else {"due_at": due_at}
    _note(tx, turn, post, DEAD if is_over else RETRYING, answer)
    tx.execute(update(cursors).where(turn.is_mine).values(**after, run=None, leased_until=None))
    _count_failure(tx, endpoint, asked)


def _count_failure(tx: Transaction, endpoint: Row[Any], asked: timedelta) -> None:
    """Open the endpoint's circuit for as long as the receiver asked, and after some failures for longer each time.

    Whatever opened it before is not cut short.
    """
    failures = endpoint.failures + 1
    pause = max(asked, delay(failures - TRIPS_AT + 1)) if failures >= TRIPS_AT else asked
    known = [endpoint.open_until] if endpoint.open_until else []
    open_until = max([*known, tx.now + pause]) if pause else endpoint.open_until
    tx.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint.id)
        .values(failures=failures, failing_since=endpoint.failing_since or tx.now, open_until=open_until)
    )


def _bury(tx: Transaction, cursor: Row[Any]) -> bool:
    """Make dead letters of the events behind a cursor that are older than TRIED_FOR, and move it behind them; return
    whether there were any. The caller has the cursor.
    """
    wanted = tx.scalar(select(endpoints.c.events).where(endpoints.c.id == cursor.endpoint_id))
    limit = tx.now - TRIED_FOR
    entries = [e for e in ledger.read(tx.connection, cursor.stream, cursor.seq, 500) if e.created_at <= limit]
    turn = Turn(cursor.endpoint_id, cursor.meeting_id, "")
    for dead in posts_of(entries, wanted):
        _note(tx, turn, dead, DEAD, None, "The receiver took nothing for 24 hours.")
    if entries:
        key = key_of(cursor.endpoint_id, cursor.meeting_id)
        tx.execute(update(cursors).where(key).values(seq=entries[-1].seq, attempts=0))
    return bool(entries)


def bury_overdue(tx: Transaction, limit: int = 100) -> int:
    """Make dead letters of what waits behind the open circuit of an endpoint that has taken nothing for TRIED_FOR.

    Such an endpoint is tried with one meeting at a time. Returns how many cursors it moved, at most `limit`.
    """
    head = (ledger.events.c.stream == cursors.c.stream) & (ledger.events.c.seq == cursors.c.seq + 1)
    before = tx.now - TRIED_FOR
    rows = tx.all(
        select(cursors)
        .join(endpoints, endpoints.c.id == cursors.c.endpoint_id)
        .join(ledger.events, head)
        .where(
            endpoints.c.failing_since <= before,
            endpoints.c.failures >= TRIPS_AT,
            endpoints.c.is_enabled,
            cursors.c.due_at.is_not(None),
            cursors.c.since <= before,
            ledger.events.c.created_at <= before,
            or_(cursors.c.leased_until.is_(None), cursors.c.leased_until <= tx.now),
        )
        .limit(limit)
        .with_for_update(of=cursors, skip_locked=True)
    )
    return sum(_bury(tx, row) for row in rows)


def _note(
    tx: Transaction, turn: Turn, post: Post, state: str, answer: Answer | None, reason: str | None = None
) -> None:
    """Write down what became of an event: one row, whatever the number of attempts."""
    told: dict[str, Any] = {"state": state}
    if answer is not None:
        told |= {"response_status": answer.status, "duration_ms": answer.duration_ms, "last_attempt_at": tx.now}
    told["reason"] = (answer.reason if answer else reason) if state != DELIVERED else None
    new = tx.insert(deliveries).values(
        id=new_id(),
        endpoint_id=turn.endpoint_id,
        meeting_id=turn.meeting_id,
        seq=post.seq,
        event=post.kind,
        attempts=int(answer is not None),
        created_at=tx.now,
        **told,
    )
    again = {**told, "attempts": deliveries.c.attempts + int(answer is not None)}
    tx.execute(new.on_conflict_do_update(index_elements=["endpoint_id", "meeting_id", "seq"], set_=again))


def note_test(tx: Transaction, delivery_id: str, answer: Answer) -> None:
    """Write down what became of a test. It is no failure of the endpoint, and no proof that it recovered."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == PENDING)
        .values(
            state=DELIVERED if answer.is_taken else FAILED,
            attempts=1,
            response_status=answer.status,
            reason=answer.reason,
            duration_ms=answer.duration_ms,
            last_attempt_at=tx.now,
        )
    )
