"""Requests of one operation that come at the same time share a transaction (docs/adr/0012).

Only those of accounts with a session: the rest go alone, and so does whoever the operation cannot do with the others.
Idempotency keys are entered with the answers, all in one statement when the work is done. Who sends one that was used
before is undone there and goes alone, where it is recalled; so does who is refused, for it may have been done before.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from flask import current_app
from sqlalchemy.exc import IntegrityError

from shared.core.batching import Batcher, Held, NotTogether
from shared.core.database import LOCK_TIMEOUT_SECONDS, LockTimeout, TransactionConflict
from shared.core.errors import DomainError
from shared.core.idempotency import KeyTaken, StoredAnswer, finish_all, is_in_work, telling_keys, used
from shared.core.idempotency import Request as KeyedRequest
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import TokenRevoked
from shared.identity.service import find_actors
from shared.runtime import Runtime
from web.http.reply import Reply
from web.http.runtime import current_runtime
from web.http.tokens import Claims

LIMIT = 32
# So long, and no longer, a row is waited for in all (F16): a little longer than for one lock, so that who waits for one
# only, as a key in work elsewhere, still hears that it was a lock. Not where the database is far away: there those who
# stand before in the line need longer, and the connection's own limits hold.
HELD_SECONDS = LOCK_TIMEOUT_SECONDS + 0.2
FAR_SECONDS = 0.05
LANES = 8
SLOW_SECONDS = 0.2
CONTENDED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request among those that came at the same time: who says they ask, the fields of its path, those of its body
    and query, and under which key it may be sent again."""

    claims: Claims
    path: dict[str, Any]
    wanted: dict[str, Any]
    once: KeyedRequest | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for: who, the fields of its path, and those of its body and query."""

    actor: Actor
    path: dict[str, Any]
    wanted: dict[str, Any]


class Together(Protocol):
    """Does several requests at once; returns for each the reply, the refusal, or that it is to be done alone, or later.

    When it does not wait, what somebody else has locked is Held.
    """

    def __call__(
        self, tx: Transaction, asked: Sequence[Asked], *, waits: bool
    ) -> Sequence[Reply | DomainError | NotTogether]: ...


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a request that was done with others: who asked, and the reply, the refusal, or the answer that is
    kept under its key."""

    actor: Actor | None
    outcome: Reply | StoredAnswer | DomainError


_Outcome = Told | Literal["alone", "held"]  # it was not done with the others
_Path = tuple[Any, ...]
_AnswerOf = Callable[[Reply], StoredAnswer]


class Sharing:
    """Shares transactions of one operation in one process; `answer_of` makes the answer of a reply.

    First with whoever else comes, without waiting for anything that is locked: a meeting that is held up must not hold
    up the others. What was locked is waited for by all of the same `path` together, whom also those join who come
    meanwhile or soon after: to find it locked once more, or to overtake, would help nobody.

    A batch that takes long, since the database is far away or one in it waits for something after all, is not waited
    for: who comes then goes in another lane, beside it. As long as batches are fast there is one lane.
    """

    def __init__(self, runtime: Runtime, together: Together, answer_of: _AnswerOf) -> None:
        self._runtime = runtime
        self._together = together
        self._answer_of = answer_of
        self._at_once: Batcher[Waiting, _Outcome] = Batcher(partial(self._do, waits=False), LIMIT)
        self._contended: dict[_Path, float] = {}  # until when
        self._way_seconds = 0.0  # to the database and back, the last time
        self._in_turn: Batcher[Waiting, _Outcome] = Batcher(partial(self._do, waits=True), LIMIT, fail_together=True)

    def do(self, waiting: Waiting) -> Told | None:
        """Do a request together with others; None when it has to be done alone. Raises ServiceUnavailable."""
        path = tuple(waiting.path.values())
        try:
            told = "held" if self._is_contended(path) else self._try(waiting, path)
            if told == "held":
                told = self._in_turn.run(waiting, path)
        except (NotTogether, TransactionConflict, IntegrityError):
            return None
        return told if isinstance(told, Told) else None

    def _is_contended(self, path: _Path) -> bool:
        """Tell whether others wait for this path here, or it was found locked a moment ago."""
        return self._in_turn.since(path) is not None or self._contended.get(path, 0.0) > time.monotonic()

    def _try(self, waiting: Waiting, path: _Path) -> _Outcome:
        outcome = self._at_once.run(waiting, self._lane())
        if outcome == "held":
            now = time.monotonic()
            self._contended[path] = now + CONTENDED_SECONDS
            for old in [one for one, until in list(self._contended.items()) if until <= now]:
                self._contended.pop(old, None)
        return outcome

    def _lane(self) -> int:
        """Return the first lane where nobody works, or not for long yet; else the one where they work longest."""
        now = time.monotonic()
        since = [self._at_once.since(lane) or now for lane in range(LANES)]
        return next((lane for lane in range(LANES) if now - since[lane] < SLOW_SECONDS), since.index(min(since)))

    def _do(self, waiting: Sequence[Waiting], *, waits: bool) -> Sequence[_Outcome | NotTogether]:
        try:
            return self._transact(waiting, waits=waits)
        except KeyTaken:
            with self._runtime.reading() as tx:
                known = used(tx, [one.once for one in waiting if one.once is not None])
            return ["alone" if one.once in known else NotTogether() for one in waiting]
        except LockTimeout as held:
            if is_in_work(held):
                return [NotTogether() if one.once is None else "alone" for one in waiting]
            if waits or len(waiting) == 1:
                raise
            raise NotTogether from None  # one of them is held up by what is no meeting's

    def _transact(self, waiting: Sequence[Waiting], *, waits: bool) -> list[_Outcome]:
        with telling_keys(), self._runtime.transaction() as tx:
            if waits and self._way_seconds < FAR_SECONDS:
                tx.bound_statements(HELD_SECONDS)
            began = time.monotonic()
            actors = find_actors(tx, {one.claims.reference for one in waiting})
            self._way_seconds = time.monotonic() - began
            asked = {
                n: Asked(actor, one.path, one.wanted)
                for n, one in enumerate(waiting)
                if (actor := actors.get(one.claims.reference)) is not None and actor.user_id == one.claims.subject
            }
            outcomes = self._together(tx, list(asked.values()), waits=waits) if asked else ()
            told: list[_Outcome] = [Told(None, TokenRevoked())] * len(waiting)
            for (n, one), outcome in zip(asked.items(), outcomes, strict=True):
                told[n] = self._told(one.actor, outcome, waiting[n].once)
            finish_all(
                tx,
                [
                    (one.once, became.outcome)
                    for one, became in zip(waiting, told, strict=True)
                    if one.once is not None and isinstance(became, Told) and isinstance(became.outcome, StoredAnswer)
                ],
            )
        return told

    def _told(self, actor: Actor, outcome: Reply | DomainError | NotTogether, once: KeyedRequest | None) -> _Outcome:
        if isinstance(outcome, NotTogether):
            return "held" if isinstance(outcome, Held) else "alone"
        if once is None:
            return Told(actor, outcome)
        return Told(actor, self._answer_of(outcome)) if isinstance(outcome, Reply) else "alone"


def sharing(name: str, together: Together, answer_of: _AnswerOf) -> Sharing:
    """Return what shares the transactions of the operation `name` in this process."""
    every: dict[str, Sharing] = current_app.extensions.setdefault("parley-sharing", {})
    return every.get(name) or every.setdefault(name, Sharing(current_runtime(), together, answer_of))
