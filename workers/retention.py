"""The ledger's archive: what is stored is read back before anything is deleted, and no transaction waits for it."""

import hashlib
import logging
import time

from shared.core.metrics import FORGOTTEN
from shared.core.storage import Storage, StorageFailed
from shared.retention import service as retention
from shared.retention.service import Due, Piece
from shared.runtime import Runtime
from workers.task import every

log = logging.getLogger(__name__)

RUN_SECONDS = 45.0  # with the last piece, which may wait 20 s for the storage, less than a task may take


@every(120, "ledger.archive")
def archive(runtime: Runtime) -> int:
    """Move the events of meetings that are long over into the archive, if there is one. Returns how many events."""
    if not runtime.settings.archive_url:
        return 0
    until = time.monotonic() + RUN_SECONDS
    storage = Storage(runtime.settings.archive_url)
    count = 0
    after: Due | None = None
    while page := _page(runtime, after):
        for meeting in page:
            try:
                count += archive_meeting(runtime, storage, meeting.meeting_id, until)
            except StorageFailed:
                raise  # so would all others
            except Exception:  # it must not keep those behind it; it comes again by itself
                log.exception("meeting_not_archived", extra={"meeting_id": meeting.meeting_id})
            if time.monotonic() >= until:
                return count
        after = page[-1]
    return count


def _page(runtime: Runtime, after: Due | None) -> list[Due]:
    with runtime.reading() as tx:
        return retention.due(tx, after)


def archive_meeting(runtime: Runtime, storage: Storage, meeting_id: str, until: float) -> int:
    """Move a meeting's events into the archive, piece by piece, until a time of the monotonic clock. Returns how many.

    Raises StorageFailed, LedgerIncomplete, AlreadyArchived.
    """
    count = 0
    while True:
        with runtime.reading() as tx:
            piece = retention.next_piece(tx, meeting_id)
        if piece is None:
            with runtime.transaction() as tx:
                retention.finish(tx, meeting_id)
            return count
        _store(storage, piece)
        with runtime.transaction() as tx:
            is_buried = retention.bury(tx, piece)
        if not is_buried:
            return count
        FORGOTTEN.labels("ledger_events").inc(piece.event_count)
        count += piece.event_count
        if time.monotonic() >= until:
            return count


def _store(storage: Storage, piece: Piece) -> None:
    """Store a piece and read it back. Raises StorageFailed, also when what comes back is not what was stored."""
    storage.put(piece.key, piece.body)
    if hashlib.sha256(storage.get(piece.key)).hexdigest() != piece.sha256:
        raise StorageFailed(f"{piece.key}: what comes back is not what was stored")
