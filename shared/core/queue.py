"""The road from the outbox to Celery: jobs are sent by name, by a thread of their own, never by a request.

A request hands over what its transaction decided and goes on. When the broker does not answer, the circuit opens and
nothing is sent until it closes again: the rows stay in the outbox and beat's relay sends them (promises M10, M11).

A mark lies in the broker beside the messages. When it is gone, so are they, and the relay need not wait for the rows'
times to see that nobody has taken them.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

import redis as redis_client
from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection, Exchange, Queue
from kombu.transport import redis
from redis.exceptions import ConnectionError as BrokerConnectionError

from shared.core.background import Background
from shared.core.outbox import Errand
from shared.core.quick_redis import quick_client

log = logging.getLogger(__name__)

LANES = ("fast", "default", "media", "maintenance", "webhooks")
BACKLOG = 10_000  # errands waiting in memory; beyond it the relay takes over
OPEN_SECONDS = 2.0
MARK, MARK_TIMEOUT_SECONDS = "parley:queue:mark", 2.0
TASK_TIME_LIMIT_SECONDS = 90
VISIBILITY_TIMEOUT_SECONDS = 120  # longer than any task may run, or tasks start twice (M15)


class _Channel(redis.Channel):
    """A channel that says so when its connection is closed.

    A worker that loses the broker closes the old channel, which wants to give its messages back, and acknowledges what
    was done meanwhile. Kombu then finds no connection, raises AttributeError, and the worker ends. The messages come
    back by their visibility timeout.
    """

    def _connparams(self, *args: Any, **options: Any) -> Any:
        if getattr(self.connection, "client", None) is None:
            raise BrokerConnectionError("the connection of this channel is closed")
        return super()._connparams(*args, **options)  # type: ignore[no-untyped-call]


class _Transport(redis.Transport):
    Channel = _Channel


class SteadyConnection(Connection):
    """A connection to the broker that outlives it, and is tried again every two seconds.

    Celery lets its pauses grow to half a minute, for which a worker would take nothing though the broker is back; no
    setting changes that.
    """

    def get_transport_cls(self) -> Any:
        """Return the transport's class, ours for Redis."""
        transport = super().get_transport_cls()  # type: ignore[no-untyped-call]
        return _Transport if transport is redis.Transport else transport

    def ensure_connection(self, *args: Any, **options: Any) -> Self:
        """Connect, as kombu's does."""
        connected: Self = super().ensure_connection(*args, **{"interval_step": 0, **options})  # type: ignore[no-untyped-call]
        return connected


class _Amqp(AMQP):  # type: ignore[misc]
    Connection = SteadyConnection


def make_celery(redis_url: str) -> Celery:
    """Return a Celery application with the product's transport settings; used by senders and by workers."""
    app = Celery("parley", broker=redis_url, amqp=_Amqp)
    app.conf.update(
        task_queues=[Queue(lane, Exchange(lane), routing_key=lane) for lane in LANES],
        task_default_queue="default",
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=TASK_TIME_LIMIT_SECONDS,
        task_soft_time_limit=75,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_soft_shutdown_timeout=20.0,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=2,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 0.5,
            "retry_policy": {"timeout": 0.5},
        },
        visibility_timeout=VISIBILITY_TIMEOUT_SECONDS,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_SECONDS},
        timezone="UTC",
        enable_utc=True,
    )
    return app


def depths(client: redis_client.Redis) -> dict[str, int]:
    """Return how many messages wait in the broker, by lane. Raises what the client raises."""
    pipeline = client.pipeline(transaction=False)
    for lane in LANES:
        pipeline.llen(lane)  # kombu's list of the one priority that is used
    return dict(zip(LANES, pipeline.execute(), strict=True))


class TaskQueue:
    """Sends errands in the background. Safe to lose: what it never sent is still in the outbox."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._waiting: deque[Errand] = deque(maxlen=BACKLOG)
        self._sender = Background("task-queue", self._send_waiting)
        self._open_until = 0.0
        self._broker = quick_client(celery.conf.broker_url, timeout=MARK_TIMEOUT_SECONDS)

    @property
    def healthy(self) -> bool:
        """Tell whether the last attempt reached the broker."""
        return time.monotonic() >= self._open_until

    def dispatch(self, errands: Sequence[Errand]) -> None:
        """Take errands whose transaction has been committed. Returns at once."""
        if errands:
            self._waiting.extend(errands)
            self._sender.wake()

    def send(self, errand: Errand) -> None:
        """Send one errand now, in this thread. Raises what the broker client raises."""
        self._celery.send_task(errand.name, args=[errand.id], queue=errand.lane, ignore_result=True)

    def has_forgotten(self) -> bool:
        """Tell whether the broker has lost all that it was given since `remember`. Raises what its client raises."""
        return not self._broker.exists(MARK)

    def remember(self) -> None:
        """Leave the mark by which `has_forgotten` tells. Raises what the broker's client raises."""
        self._broker.set(MARK, "1")

    def _send_waiting(self) -> None:
        while self._waiting:
            errand = self._waiting.popleft()
            if not self.healthy:
                continue
            try:
                self.send(errand)
            except Exception as broken:
                self._open_until = time.monotonic() + OPEN_SECONDS
                log.warning("broker_unreachable", extra={"error": str(broken), "task": errand.name})
