"""PostgreSQL's driver, with an end to its patience.

`statement_timeout` is the server's own watch: a server that hangs (stopped, or behind a dead network) never says that
the time is over, and the driver would wait for ever (promises M9). So the client counts too, and then hangs up.
"""

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout

# More than STATEMENT_TIMEOUT_SECONDS, so that a server that works has the word; a ping that gets no answer, and the
# new connection that is then tried (connect_timeout), must together stay below ten seconds.
ANSWER_SECONDS = 6.5


class ImpatientConnection(psycopg.Connection[Any]):
    """Closes itself when an answer takes too long; the pool then drops it as it does any lost connection."""

    patience: float | None = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError after `patience` seconds without one."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {self.patience} s") from None
