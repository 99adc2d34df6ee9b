"""PostgreSQL's driver, with an end to its patience.

`statement_timeout` is the server's own watch: a server that hangs (stopped, or behind a dead network) never says that
the time is over, and the driver would wait for ever (promises M9). So the client counts too, and then hangs up.

What ends a transaction is sent in one go: see `queue`.

Where gevent has patched the process, the driver waits with a poll object that gevent made cooperative, and builds a new
one for each statement. Here the connection keeps its watchers and asks gevent's loop itself: a third less CPU.
"""

import os
from contextlib import suppress
from time import monotonic
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout
from psycopg.generators import send
from psycopg.pq import TransactionStatus

from shared.core.greenlets import patched_hub

# More than STATEMENT_TIMEOUT_SECONDS, so that a server that works has the word; a BEGIN that gets no answer, and the
# new connection that is then tried (connect_timeout), must together stay below ten seconds.
ANSWER_SECONDS = 6.5

_READ_WRITE = 3  # gevent's event bits, which are also those of psycopg's Wait and Ready
_GEVENT = patched_hub()  # the driver chooses its own way of waiting when it is imported, too


class _Queue(psycopg.Pipeline):
    """Statements that are kept back until the commit, and leave with it.

    psycopg's own pipeline sends each at once, which costs a write and, under gevent, a turn in the loop. `failure` is
    what the first answer says that is one; the others say only that they were not tried any more.
    """

    failure: psycopg.Error | None = None

    def _communicate_gen(self) -> PQGen[None]:
        yield from ()

    def _sync_gen(self) -> PQGen[None]:
        self._enqueue_sync()
        while self.command_queue:
            self.command_queue.popleft()()
        yield from send(self.pgconn)
        yield from self._fetch_gen(flush=False)

    def _process_results(self, queued: Any, results: Any) -> None:
        try:
            super()._process_results(queued, results)
        except psycopg.Error as failure:
            self.failure = self.failure or failure
            raise

    def enter(self) -> None:
        self.pgconn.enter_pipeline_mode()
        self.level = 1  # so that psycopg takes none of its own for the first, and ends this one with it
        self._conn._pipeline = self

    def leave(self) -> None:
        self._conn._pipeline = None
        with suppress(psycopg.OperationalError):
            self.pgconn.exit_pipeline_mode()
            return
        self.pgconn.finish()  # there are answers that nobody has read


class ImpatientConnection(psycopg.Connection[Any]):
    """Closes itself when an answer takes too long; the pool then drops it as it does any lost connection."""

    patience: float | None = ANSWER_SECONDS
    _hub: Any = None  # whose loop the watchers belong to: each thread has its own
    _watchers: dict[int, Any]

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError after `patience` seconds without one."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            if _GEVENT is not None:
                return self._wait_beside_others(gen, interval)
            return super().wait(gen, interval, self.patience)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {self.patience} s") from None

    def begin(self) -> bool:
        """Open the transaction now, and not with its first statement. False when the connection is lost.

        Should it be refused for another reason, the first statement will be too, and says why.
        """
        with self.lock, suppress(psycopg.Error):
            self.wait(self._start_query())
        return not self.closed

    def queue(self) -> None:
        """Keep the transaction's further statements back, for `commit` to send: nobody may ask for an answer.

        So what they lock is held for one way to the server and back less with each of them. Until then the server sees
        a transaction that is idle, and ends it when it is so for too long. Before the first statement there is none
        yet: then nothing is kept back.
        """
        if self.pgconn.transaction_status != TransactionStatus.INTRANS or self._pipeline is not None:
            return
        _Queue(self).enter()

    def commit(self) -> None:
        """Commit. Raises psycopg.Error when that failed, or what is queued.

        When the server says so, none of it has happened; when no answer comes, it is unknown: all of it was sent, and
        `patience` counts for all of it together.
        """
        queue = self._pipeline
        if not isinstance(queue, _Queue):
            super().commit()
            return
        try:
            super().commit()
        except psycopg.Error as failure:
            queue.failure = queue.failure or failure
        finally:
            queue.leave()
        if queue.failure is not None:
            raise queue.failure

    def rollback(self) -> None:
        """Undo the transaction; what is queued was never sent."""
        if isinstance(self._pipeline, _Queue):
            self._pipeline.leave()
        super().rollback()

    def _wait_beside_others(self, gen: PQGen[RV], interval: float) -> RV:
        """Wait while other greenlets run. Raises _WaitTimeout after `patience` seconds, or what `gen` raises.

        Whoever is interrupted meanwhile (GreenletExit, KeyboardInterrupt) leaves an answer that nobody has read, so the
        connection is closed: the next statement must not take it for its own.
        """
        deadline = None if self.patience is None else monotonic() + self.patience
        try:
            wanted = next(gen)
            while True:
                pause = interval if deadline is None else max(0.0, min(interval, deadline - monotonic()))
                wanted = gen.send(self._ready(int(wanted), pause))
                if deadline is not None and monotonic() >= deadline:
                    raise _WaitTimeout("wait timeout expired")
        except StopIteration as end:
            answer: RV = end.value
            return answer
        except Exception:
            raise
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    def _ready(self, wanted: int, pause: float) -> Any:
        """Return what the socket is ready for, 0 after `pause` seconds. Raises OperationalError when it was closed."""
        hub = _GEVENT.get_hub()
        if self._hub is not hub:
            self._hub, self._watchers = hub, {}
        watcher = self._watchers.get(wanted)
        if watcher is None:
            watcher = self._watchers[wanted] = hub.loop.io(self.pgconn.socket, wanted)
        waiter = _GEVENT.Waiter(hub)
        timer = hub.loop.timer(pause, priority=-1)  # behind the socket, when a busy process finds both at once
        watcher.start(waiter.switch, pass_events=True)
        timer.start(waiter.switch, 0, update=True)
        try:
            ready = waiter.get() & _READ_WRITE
        finally:
            watcher.stop()
            timer.close()
        if not ready:
            self._check_socket()  # the loop says nothing about one that is gone
        return ready

    def _check_socket(self) -> None:
        try:
            os.fstat(self.pgconn.socket)
        except OSError as gone:
            raise psycopg.OperationalError("connection socket closed") from gone
