"""The composition root: the long-lived things of one process, built after fork, handed to every door."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from celery import Celery

import shared.listeners
import shared.models  # noqa: F401  fills METADATA
from shared.core import tracing, transaction, vitals
from shared.core.cache import Cache
from shared.core.clock import Clock, SystemClock
from shared.core.database import Database, TransactionConflict
from shared.core.errors import DomainError
from shared.core.keyring import Keyring
from shared.core.messages import Signal
from shared.core.queue import TaskQueue, make_celery
from shared.core.settings import Settings
from shared.core.transaction import Tools, Transaction
from shared.realtime import envelope
from shared.realtime.broker import Broker, make_broker
from shared.realtime.channels import CONTROL, meeting_channel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything a door needs. Tests build it with other parts."""

    settings: Settings
    database: Database
    broker: Broker
    celery: Celery
    queue: TaskQueue
    tools: Tools
    clock: Clock

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return self.clock.now()

    @contextmanager
    def transaction(self, *, consistent: bool = False) -> Iterator[Transaction]:
        """Yield a transaction. After its commit, and only then, its events and jobs leave.

        Nothing that happens after the commit can fail the caller: the ledger and the outbox heal it.
        """
        with transaction.begin(self.database, self.clock, self.tools, consistent=consistent) as tx:
            yield tx
        self._send(tx)

    def _send(self, tx: Transaction) -> None:
        """Let leave what the commit allowed to leave."""
        for entry in tx.entries:
            tracing.note(entry.type, meeting_id=entry.meeting_id, stream=entry.stream, seq=entry.seq)
            message = envelope.encode(entry.stream, entry.seq, entry.effect, envelope.frame_of(entry))
            self.broker.publish(meeting_channel(entry.meeting_id), message)
        for signal in tx.signals:
            self.tell(signal)
        for order in tx.orders:
            self.broker.publish(CONTROL, order.encode())
        self.queue.dispatch(tx.errands)

    def tell(self, signal: Signal) -> None:
        """Tell a signal to whoever listens: at most once, and at once."""
        message = envelope.encode(signal.stream, 0, None, envelope.frame_of_signal(signal, self.now()))
        self.broker.publish(meeting_channel(signal.meeting_id), message)

    @contextmanager
    def reading(self, *, consistent: bool = False) -> Iterator[Transaction]:
        """Yield a transaction for reads only."""
        with transaction.begin_reading(self.database, self.clock, self.tools, consistent=consistent) as tx:
            yield tx


def build_runtime(settings: Settings) -> Runtime:
    """Build the runtime of a process. Connects to nothing yet."""
    celery = make_celery(settings.redis_url)
    keyring = Keyring(settings.secret_key)
    database = Database(settings.database_url)
    return Runtime(
        settings=settings,
        database=database,
        broker=make_broker(settings.wakeup_servers, on_lost=lambda: _raise_alarm(database)),
        celery=celery,
        queue=TaskQueue(celery),
        tools=Tools(settings, keyring, Cache(settings.redis_url, settings.meeting_cache_ttl, keyring)),
        clock=SystemClock(),
    )


def _raise_alarm(database: Database) -> None:
    """Let every web process look into the ledger: this one cannot reach Redis, and others may hear it well."""
    try:
        with database.connection() as connection:
            vitals.sign(connection, vitals.WAKEUPS_LOST, SystemClock().now())
    except (DomainError, TransactionConflict) as broken:  # then hardly anything is committed that could be missed
        log.warning("alarm_not_raised", extra={"error": str(broken)})
