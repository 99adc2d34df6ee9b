"""What decides about signals, kept with their senders: looked up when an event says that it may have changed."""

import time
from collections.abc import Sequence

from shared.core.batching import Batcher
from shared.core.errors import DomainError
from shared.participants.standing import Standing, get_standings
from shared.runtime import Runtime
from web.realtime.frame_types import Sender

STANDING_SECONDS = 60.0  # who leaves loses the socket at once; this bounds what no event told


class Standings:
    """Looks up standings for one process, those that are wanted at the same time together."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._batcher: Batcher[str, Standing] = Batcher(self._read)

    def of(self, sender: Sender) -> Standing:
        """Return a sender's standing, at most STANDING_SECONDS old and not older than the last event that this process
        heard of it. Raises as `get_inside`, and ServiceUnavailable."""
        standing = sender.standing
        now = time.monotonic()
        if standing is None or now - sender.read_at > STANDING_SECONDS:
            renewals = sender.renewals
            standing = self._batcher.run(sender.participant_id)
            if renewals == sender.renewals:
                sender.standing, sender.read_at = standing, now
        return standing

    def _read(self, participant_ids: Sequence[str]) -> Sequence[Standing | DomainError]:
        with self._runtime.reading() as tx:
            found = get_standings(tx, set(participant_ids))
        return [found[id_] for id_ in participant_ids]
