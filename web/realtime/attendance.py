"""Attendance: which connections this process holds, kept in the database for the day it dies (promises P9).

Connections are entered before their owners are welcomed, and removed soon after they have closed; in batches, for
they come and go in crowds.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from sqlalchemy.exc import IntegrityError

from shared.core import ledger
from shared.core.batching import Batcher, NotTogether
from shared.core.database import TransactionConflict
from shared.core.errors import DomainError, ServiceUnavailable
from shared.core.ids import new_id
from shared.core.transaction import Transaction
from shared.identity.errors import TokenRevoked
from shared.identity.service import ended_sessions
from shared.meetings.errors import MeetingNotFound
from shared.participants import heartbeat as people
from shared.participants.membership import Membership, memberships_by_id
from shared.participants.models import Participant
from shared.participants.queries import audible_streams
from shared.participants.tickets import check_listener
from shared.realtime import close_codes, presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from web.realtime.connection import Connection
from web.realtime.hub import Hub

log = logging.getLogger(__name__)

T = TypeVar("T")
_Newcomer = tuple[Connection, Collection[str]]


class RightsChanged(Exception):
    """What somebody may hear is not what it was at the handshake: they have to come again."""


class Entry(NamedTuple):
    """Somebody who was entered: who it is, and where the streams stood just before that was read."""

    participant: Participant
    heads: dict[str, int]


RETRIES = 4
SEE_OFF_SECONDS = 0.5
SEE_OFF_BATCH = 500


class Attendance:
    """The connections of one process, as the presence tables have them; `process_id` is its name there."""

    def __init__(self, runtime: Runtime, hub: Hub) -> None:
        self.process_id = new_id()
        self._runtime = runtime
        self._own = replace(runtime, database=runtime.database.reserve())
        self._hub = hub
        self._openings: Batcher[_Newcomer, Entry] = Batcher(self._admit_all)
        self._leaving: dict[str, Socket] = {}
        self._lost: Batcher[Socket, None] = Batcher(self._remove, SEE_OFF_BATCH)

    def enter(self) -> None:
        """Take the process's lease, before its first connection. Raises ServiceUnavailable."""
        with self._runtime.transaction() as tx:
            presence.register(tx.connection, self.process_id, "web", tx.now)

    def opened(self, connection: Connection, keys: Collection[str]) -> Entry:
        """Enter a connection of the hub in the database, if its owner may still be here.

        What ended between the handshake and the entry into the hub is found here, and what ends later the hub hears.
        Raises TokenRevoked, what `get_listener` raises, RightsChanged, ServiceUnavailable.
        """
        return self._openings.run((connection, keys))

    def _admit_all(self, newcomers: Sequence[_Newcomer]) -> Sequence[Entry | Exception]:
        try:
            return self._persist(lambda tx: self._admit(tx, newcomers))
        except IntegrityError:  # this process was so slow that it was taken for dead
            self.renew()
            return self._persist(lambda tx: self._admit(tx, newcomers))

    def _admit(self, tx: Transaction, newcomers: Sequence[_Newcomer]) -> Sequence[Entry | Exception]:
        # The heads first: a right that ends later is found ended below, or told by an event behind them.
        heads = ledger.heads(tx.connection, {key for _, keys in newcomers for key in keys})
        ended = ended_sessions(tx, {c.actor.session_id for c, _ in newcomers if c.actor.session_id is not None})
        members = memberships_by_id(tx, {c.participant_id for c, _ in newcomers})
        outcomes: list[Entry | Exception] = []
        for connection, keys in newcomers:
            try:
                me = _check_right(connection, ended, members)
                if set(audible_streams(me)) != set(keys):
                    raise RightsChanged
                outcomes.append(Entry(me, {key: heads[key] for key in keys}))
            except (DomainError, RightsChanged) as refusal:
                outcomes.append(refusal)
        let_in = [c for (c, _), outcome in zip(newcomers, outcomes, strict=True) if isinstance(outcome, Entry)]
        busy = people.connections_opened(tx, self.process_id, [_socket_of(c) for c in let_in]) if let_in else ()
        return [
            NotTogether() if isinstance(outcome, Entry) and connection.participant_id in busy else outcome
            for (connection, _), outcome in zip(newcomers, outcomes, strict=True)
        ]

    def closed(self, connection: Connection) -> None:
        """Have a connection removed from the database, soon: see `see_off`.

        Who had been silent for too long is removed before this returns, with others like them: of the time in which
        everybody is to know nothing is left by then (F22), and nobody is expected back in a moment.
        """
        socket = self._leaving[connection.id] = _socket_of(connection)
        if connection.close_code == close_codes.STALE:
            (outcome,) = self._lost.run_all([socket])
            if outcome is not None:
                log.warning("connection_not_signed_off_at_once", extra={"error": str(outcome)})

    def see_off(self) -> None:
        """Remove from the database the connections that have closed; to be run in a thread of its own.

        All of half a second together: after a loss of the network they are hundreds. And who drops and comes back at
        once does so unnoticed, instead of telling everybody twice (F23).
        """
        while True:
            time.sleep(SEE_OFF_SECONDS)
            try:
                self.sign_off()
            except ServiceUnavailable:
                log.warning("connections_not_signed_off", extra={"count": len(self._leaving)})
            except Exception:
                log.exception("connections_not_signed_off")

    def sign_off(self) -> None:
        """Remove the connections that have closed, except those whose owner's place somebody else holds just now.

        Raises ServiceUnavailable; what was not removed is tried again the next time.
        """
        waiting = list(self._leaving.values())
        for start in range(0, len(waiting), SEE_OFF_BATCH):
            self._remove(waiting[start : start + SEE_OFF_BATCH])

    def _remove(self, sockets: Sequence[Socket]) -> list[Exception | None]:
        """Remove connections from the database; NotTogether stands for those whose owner's place somebody else holds.

        Safe to repeat, also by two at a time.
        """
        busy = self._persist(partial(people.connections_closed, sockets=sockets))
        for socket in sockets:
            if socket.participant_id not in busy:
                self._leaving.pop(socket.id, None)
        return [NotTogether() if socket.participant_id in busy else None for socket in sockets]

    def _persist(self, step: Callable[[Transaction], T], runtime: Runtime | None = None) -> T:
        """Run a transaction, again when the database undid it because of another. Raises ServiceUnavailable."""
        for _ in range(RETRIES):
            try:
                with (runtime or self._runtime).transaction() as tx:
                    return step(tx)
            except TransactionConflict:
                continue
        raise ServiceUnavailable

    def keep_lease(self) -> None:
        """Renew the process's lease; to be run in a thread of its own."""
        while True:
            time.sleep(presence.RENEW_SECONDS)
            try:
                self.renew()
            except ServiceUnavailable:
                log.warning("lease_not_renewed")
            except Exception:
                log.exception("lease_not_renewed")

    def renew(self) -> None:
        """Renew the lease; after it was lost, enter again with everybody who is here. Raises ServiceUnavailable."""
        here: list[Connection] = []
        busy: set[str] = set()

        def step(tx: Transaction) -> None:
            if not presence.renew(tx.connection, self.process_id, tx.now):
                here[:] = self._hub.everyone()
                presence.register(tx.connection, self.process_id, "web", tx.now)
                busy.update(people.connections_opened(tx, self.process_id, [_socket_of(one) for one in here]))

        self._persist(step, self._own)
        for connection in here:
            if connection.participant_id in busy:
                self._persist(partial(self._enter, connection), self._own)
            if connection.id not in self._hub.connections:  # it went while it was entered; the lease waits for nobody
                self._leaving[connection.id] = _socket_of(connection)

    def _enter(self, connection: Connection, tx: Transaction) -> None:
        people.connections_opened(tx, self.process_id, [_socket_of(connection)])


def _check_right(connection: Connection, ended: Collection[str], members: Mapping[str, Membership]) -> Participant:
    """Return the owner of a connection. Raises what ended the right to hear the meeting."""
    if connection.actor.session_id in ended:
        raise TokenRevoked
    membership = members.get(connection.participant_id)
    if membership is None:
        raise MeetingNotFound
    check_listener(membership)
    return membership.me


def _socket_of(connection: Connection) -> Socket:
    return Socket(connection.id, connection.meeting_id, connection.participant_id)
