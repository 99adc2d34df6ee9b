"""Delivering: who sends what next, and what follows from the answer (contract 10, promise P16).

    give_turns: a cursor behind its stream, due, in nobody's hands --> `run`, `leased_until`, a job
    take:       the job's worker makes the turn its own, so that a second message of the job finds nothing
    batch:      the next events, read when they are sent: what was redacted meanwhile stays unsaid
    settle:     (outcomes) taken --> the cursor moves on;  not taken --> it waits, and the turn is over
    end_turn:   the next one may have it

At least once, and in order: one holder at a time, and the cursor moves behind the receiver's yes only. Every statement
locks the endpoint before a cursor, if it needs both; no network is waited for in here.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select, update

from shared.core import ledger
from shared.core.ids import new_id
from shared.core.ledger import Entry
from shared.core.strict_json import loads
from shared.core.transaction import Transaction
from shared.identity.models import users
from shared.participants.models import participants
from shared.realtime.envelope import timestamp
from shared.webhooks.cursors import IS_HOST
from shared.webhooks.jobs import Deliver
from shared.webhooks.kinds import TEST, kind_of
from shared.webhooks.models import PENDING, cursors, deliveries, endpoints
from shared.webhooks.sending import Letter, Recipient

TURN_SECONDS = 60.0  # longer than a worker sends in one turn, and the last letter's time
AT_ONCE = 4  # meetings that are sent to one endpoint side by side
TRIPS_AT = 5  # failures in a row, of whatever meetings: then one meeting tries for all
BATCH = 20
TURNS = 200


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to send a meeting to an endpoint."""

    endpoint_id: str
    meeting_id: str
    run: str

    @property
    def is_mine(self) -> ColumnElement[bool]:
        """Return the condition under which the cursor is still this turn's."""
        return key_of(self.endpoint_id, self.meeting_id) & (cursors.c.run == self.run)


@dataclass(frozen=True, slots=True)
class Post:
    """One event to send: its number, what webhooks call it, since when it is to be told, and the letter."""

    seq: int
    kind: str
    happened_at: datetime
    letter: Letter


@dataclass(frozen=True, slots=True)
class Batch:
    """What comes next: where it goes, the letters, and the number up to which they tell all there is to tell."""

    recipient: Recipient
    posts: tuple[Post, ...]
    up_to: int
    was_failing: bool


def key_of(endpoint_id: str, meeting_id: str) -> ColumnElement[bool]:
    """Return the condition that names a cursor."""
    return and_(cursors.c.endpoint_id == endpoint_id, cursors.c.meeting_id == meeting_id)


def give_turns(tx: Transaction) -> int:
    """Have sent whatever is to be sent now: a job for each cursor. Returns how many.

    An endpoint has AT_ONCE turns at a time; after TRIPS_AT failures in a row a single one, each time its circuit is to
    be tried. So a receiver that is dead or slow takes no turns from others.
    """
    count = 0
    for row in tx.all(_behind(tx.now)):
        turn = Turn(row.endpoint_id, row.meeting_id, new_id())
        mine = key_of(row.endpoint_id, row.meeting_id)
        # Skipped when somebody has it: whoever changes an endpoint takes its cursors in another order.
        free = select(cursors.c.meeting_id).where(mine, _is_free(tx.now)).with_for_update(skip_locked=True)
        given = tx.execute(
            update(cursors)
            .where(mine, cursors.c.meeting_id == free.scalar_subquery())
            .values(run=turn.run, leased_until=tx.now + timedelta(seconds=TURN_SECONDS))
        )
        if given.rowcount:
            tx.enqueue(Deliver(endpoint_id=row.endpoint_id, meeting_id=row.meeting_id, run=turn.run))
            count += 1
    return count


def _is_free(now: datetime) -> ColumnElement[bool]:
    return and_(cursors.c.due_at <= now, or_(cursors.c.leased_until.is_(None), cursors.c.leased_until <= now))


def _takes_letters(now: datetime) -> ColumnElement[bool]:
    return and_(endpoints.c.is_enabled, or_(endpoints.c.open_until.is_(None), endpoints.c.open_until <= now))


def _behind(now: datetime) -> Select[Any]:
    busy = (
        select(cursors.c.endpoint_id, func.count().label("turns"))
        .where(cursors.c.leased_until > now)
        .group_by(cursors.c.endpoint_id)
        .subquery()
    )
    at_once = case((endpoints.c.failures >= TRIPS_AT, 1), else_=AT_ONCE)
    line = func.row_number().over(partition_by=cursors.c.endpoint_id, order_by=cursors.c.due_at)
    free = (
        select(cursors.c.endpoint_id, cursors.c.meeting_id, cursors.c.due_at, line.label("place"))
        .add_columns((at_once - func.coalesce(busy.c.turns, 0)).label("room"))
        .join(ledger.streams, ledger.streams.c.key == cursors.c.stream)
        .join(endpoints, endpoints.c.id == cursors.c.endpoint_id)
        .outerjoin(busy, busy.c.endpoint_id == cursors.c.endpoint_id)
        .where(
            _is_free(now),
            ledger.streams.c.seq > cursors.c.seq,
            _takes_letters(now),
        )
        .subquery()
    )
    return (
        select(free.c.endpoint_id, free.c.meeting_id)
        .where(free.c.place <= free.c.room)
        .order_by(free.c.due_at)
        .limit(TURNS)
    )


def take(tx: Transaction, job: Deliver) -> Turn | None:
    """Make a turn one's own; None when it was taken, or is over."""
    given = Turn(job.endpoint_id, job.meeting_id, job.run)
    mine = Turn(job.endpoint_id, job.meeting_id, new_id())
    lease = tx.now + timedelta(seconds=TURN_SECONDS)
    taken = tx.execute(
        update(cursors).where(given.is_mine, cursors.c.leased_until > tx.now).values(run=mine.run, leased_until=lease)
    )
    return mine if taken.rowcount else None


def batch(tx: Transaction, turn: Turn) -> Batch | None:
    """Return what is to be sent next; None when there is nothing, it is nobody's business any more, or the receiver is
    to be left alone meanwhile.
    """
    row = tx.first(
        select(endpoints, cursors.c.stream, cursors.c.seq)
        .join(cursors, cursors.c.endpoint_id == endpoints.c.id)
        .join(users, users.c.id == endpoints.c.user_id)
        .join(participants, (participants.c.user_id == users.c.id) & IS_HOST)
        .where(
            turn.is_mine,
            participants.c.meeting_id == turn.meeting_id,
            _takes_letters(tx.now),
            users.c.is_active,
        )
    )
    if row is None:
        return None
    entries = ledger.read(tx.connection, row.stream, row.seq, BATCH)
    if not entries:
        return None
    posts = tuple(posts_of(entries, row.events))
    return Batch(_recipient(tx, row), posts, entries[-1].seq, row.failures > 0)


def _recipient(tx: Transaction, row: Row[Any]) -> Recipient:
    secrets = [tx.keyring.decrypt(row.secret).decode()]
    if row.previous_secret is not None and row.previous_until > tx.now:
        with suppress(InvalidToken):  # rotated because SECRET_KEY is another one now
            secrets.append(tx.keyring.decrypt(row.previous_secret).decode())
    return Recipient(row.url, tuple(secrets))


def posts_of(entries: Sequence[Entry], wanted: Sequence[str]) -> Iterator[Post]:
    """Return those of some events that an endpoint is told of, as they are sent."""
    for entry in entries:
        kind = kind_of(entry.type, loads(entry.data.encode()))
        if kind is not None and kind in wanted:
            yield Post(entry.seq, kind, entry.created_at, _letter(entry, kind))


def _letter(entry: Entry, kind: str) -> Letter:
    """Return the body of the contract; `data` goes as it is in the ledger."""
    body = (
        f'{{"event":"{kind}","meeting_id":"{entry.meeting_id}","seq":{entry.seq},'
        f'"data":{entry.data},"timestamp":"{timestamp(entry.created_at)}"}}'
    )
    return Letter(f"evt_{entry.meeting_id}_{entry.seq}", body.encode())


def move_on(tx: Transaction, turn: Turn, up_to: int) -> bool:
    """Move the cursor behind events that the endpoint is not told of. Returns whether the turn goes on."""
    moved = tx.execute(update(cursors).where(turn.is_mine).values(seq=up_to))
    return bool(moved.rowcount)


def end_turn(tx: Transaction, turn: Turn) -> None:
    """Let the cursor go; what comes next is due at once."""
    tx.execute(update(cursors).where(turn.is_mine).values(due_at=tx.now, run=None, leased_until=None))


def letter_of_test(tx: Transaction, delivery_id: str) -> tuple[Recipient, Letter] | None:
    """Return where a test goes, and the test; None when it was sent, or its endpoint is gone."""
    row = tx.first(
        select(endpoints, deliveries.c.created_at.label("asked_at"))
        .join(deliveries, deliveries.c.endpoint_id == endpoints.c.id)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == PENDING)
    )
    if row is None:
        return None
    body = f'{{"event":"{TEST}","meeting_id":null,"seq":null,"data":{{}},"timestamp":"{timestamp(row.asked_at)}"}}'
    return _recipient(tx, row), Letter(f"test_{delivery_id}", body.encode())
