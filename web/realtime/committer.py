"""Making frames durable: one by one, or those of a meeting that come at the same time in one transaction.

They would stand in line for the row of the meeting's stream anyhow. Together they share the transaction's fixed cost,
and nobody's acknowledgement is held back for others to come (shared.core.batching).
"""

from collections.abc import Sequence
from itertools import groupby

from shared.core.batching import Batcher, NotTogether
from shared.core.database import TransactionConflict
from shared.core.errors import DomainError, ServiceUnavailable
from shared.core.idempotency import KeyTaken, keep, keep_all, recall, telling_keys
from shared.core.transaction import Position
from shared.runtime import Runtime
from web.http.refusals import Refusals
from web.realtime.frame_types import Ask
from web.realtime.standings import Standings

RETRIES = 3

Committed = Position | None


class Committer:
    """The way of this process's frames into the database; `refusals` takes those down that may not go it."""

    def __init__(self, runtime: Runtime, refusals: Refusals) -> None:
        self.runtime = runtime
        self.refusals = refusals
        self.standings = Standings(runtime)
        self._batcher: Batcher[Ask, Committed] = Batcher(self._commit_all)

    def commit(self, asks: Sequence[Ask]) -> list[Committed | Exception]:
        """Do what frames of one connection ask for, in their order; return for each where its event stands, also when
        it was done before, or why not: what the handler raises, IdempotencyKeyReused, TransactionConflict,
        ServiceUnavailable, or an error of ours.
        """
        outcomes: list[Committed | Exception] = []
        for may_join, group in groupby(asks, key=lambda ask: ask.may_join):
            if may_join:
                some = list(group)
                outcomes += self._batcher.run_all(some, some[0].sender.meeting_id)
            else:
                outcomes += map(self._try, group)
        return outcomes

    def _try(self, ask: Ask) -> Committed | Exception:
        try:
            return self._commit(ask)
        except Exception as refused:
            return refused

    def _commit_all(self, asks: Sequence[Ask]) -> Sequence[Committed | Exception]:
        """Commit several; whatever is not plain sailing is left to be done alone."""
        if len(asks) == 1:
            return [self._commit(asks[0])]
        handle_all = asks[0].kind.handle_all
        if handle_all is None or any(ask.kind is not asks[0].kind for ask in asks):
            return [NotTogether()] * len(asks)
        with telling_keys(), self.runtime.transaction() as tx:
            outcomes = handle_all(tx, asks)
            pairs = list(zip(asks, outcomes, strict=True))
            keep_all(
                tx,
                [
                    (ask.once, _to_text(outcome))
                    for ask, outcome in pairs
                    if ask.once is not None and isinstance(outcome, Position)
                ],
            )
        # Who was refused may have been acknowledged before: that is looked up alone.
        return [NotTogether() if isinstance(outcome, DomainError) and ask.once else outcome for ask, outcome in pairs]

    def _commit(self, ask: Ask) -> Committed:
        for _ in range(RETRIES):
            try:
                return self._transact(ask)
            except TransactionConflict:
                continue
        return self._transact(ask)

    def _transact(self, ask: Ask) -> Committed:
        once = ask.once
        try:
            with telling_keys(), self.runtime.transaction() as tx:
                position: Committed = ask.kind.handle(tx, ask.sender.actor, ask.sender.meeting_id, **ask.wanted)
                if once is not None:
                    keep(tx, once, _to_text(position))
            return position
        except (KeyTaken, DomainError) as refused:
            if once is None or isinstance(refused, ServiceUnavailable):
                raise
            with self.runtime.reading() as tx:
                answer = recall(tx, once)
            if answer is None:
                raise
            return _position_in(answer)


def _to_text(position: Committed) -> str:
    return f"{position.stream} {position.seq}" if position else ""


def _position_in(answer: str) -> Committed:
    stream, _, seq = answer.partition(" ")
    return Position(stream, int(seq)) if stream else None
