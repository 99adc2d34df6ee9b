"""Refusals on their way into the audit trail, so that a flood of them does not fill it.

The transaction of a refused act was rolled back; what is written of it is written in a small one of its own. The first
refusal of a person, meeting and kind is written at once. Further ones within the minute are only counted, in memory
(a socket may bring a thousand frames a minute, which are judged without the database: docs/adr/0010), and told by one
row when the minute is over. Of one meeting at most PER_MEETING such minutes run at a time in a process; what comes
beyond, from a crowd of accounts, is counted together as nobody's, by kind. So a meeting gets at most two rows for each
minute that runs, however many are refused; none is forgotten, but a process that is killed loses the counts of a
minute.
"""

import logging
import threading
import time
from dataclasses import dataclass, replace

from flask import Flask, current_app

from shared.audit.refusals import Refusal, is_unauthorised, kind_of, record
from shared.core.background import Background
from shared.core.database import TransactionConflict
from shared.core.errors import DomainError
from shared.core.ids import is_id
from shared.identity.actor import Actor
from shared.participants.permissions import Permission
from shared.runtime import Runtime

log = logging.getLogger(__name__)

SECONDS = 60.0
PER_MEETING = 100
_NAME = "parley-refusals"
_Key = tuple[str, str]  # whose, and which kind


@dataclass(slots=True)
class _Minute:
    """Refusals of one key: the last of them, when its minute ends, and how many were not written."""

    refused: Refusal
    ends_at: float
    unwritten: int = 0


class Refusals:
    """The refusals of one process. May be called from any thread."""

    def __init__(self, runtime: Runtime, *, seconds: float = SECONDS, per_meeting: int = PER_MEETING) -> None:
        self._runtime = runtime
        self._seconds = seconds
        self._per_meeting = per_meeting
        self._lock = threading.Lock()
        self._minutes: dict[str, dict[_Key, _Minute]] = {}
        self._background = Background("refusals", self.settle)

    def note(
        self,
        refusal: DomainError,
        meeting_id: str,
        actor: Actor,
        permission: Permission,
        operation: str,
        *,
        act: str | None = None,
        target_id: str | None = None,
    ) -> None:
        """Take down that somebody was refused, if it was because they may not. `act` is the kind, where the permission
        does not say it. Never raises: the refusal is answered whatever becomes of its row."""
        if not (is_unauthorised(refusal) and is_id(meeting_id)):
            return
        rule = refusal.details.get("rule")
        refused = Refusal(
            meeting_id=meeting_id,
            actor=actor,
            kind=act or kind_of(permission, refusal),
            operation=operation,
            code=refusal.code,
            rule=rule if isinstance(rule, str) else None,
            target_id=target_id,
        )
        key = (actor.key, refused.kind)
        minute = self._begin(key, refused)
        if minute is None:
            return
        if minute.refused.actor is not None:
            written = self._write(refused, 0)
            with self._lock:
                if written is None:
                    minute.unwritten += 1
                elif not written:  # there is no such meeting: whoever guesses many fills no memory
                    self._drop(meeting_id, key)
        self._background.wake()

    def _begin(self, key: _Key, refused: Refusal) -> _Minute | None:
        """Begin a minute with its first refusal; None when this one is of a minute that runs, and counted."""
        with self._lock:
            minutes = self._minutes.setdefault(refused.meeting_id, {})
            is_one_of_a_crowd = key not in minutes and len(minutes) >= self._per_meeting
            if is_one_of_a_crowd:
                key, refused = ("", refused.kind), replace(refused, actor=None, target_id=None)
            if key in minutes:
                minutes[key].unwritten += 1
                minutes[key].refused = refused
                return None
            minutes[key] = _Minute(refused, time.monotonic() + self._seconds, unwritten=int(is_one_of_a_crowd))
            return minutes[key]

    def _drop(self, meeting_id: str, key: _Key) -> None:
        minutes = self._minutes.get(meeting_id, {})
        minutes.pop(key, None)
        if not minutes:
            self._minutes.pop(meeting_id, None)

    def settle(self) -> float | None:
        """Write the counts of the minutes that are over; return in how many seconds the next one is."""
        now = time.monotonic()
        for meeting_id, key, minute in self._over(now):
            with self._lock:
                repeated, minute.unwritten, minute.ends_at = minute.unwritten, 0, now + self._seconds
                if not repeated:
                    self._drop(meeting_id, key)
            written = self._write(minute.refused, repeated) if repeated else True
            with self._lock:
                if written is None:
                    minute.unwritten += repeated
                elif not written:
                    self._drop(meeting_id, key)
        with self._lock:
            ends = [minute.ends_at for minutes in self._minutes.values() for minute in minutes.values()]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _over(self, now: float) -> list[tuple[str, _Key, _Minute]]:
        with self._lock:
            return [
                (meeting_id, key, minute)
                for meeting_id, minutes in self._minutes.items()
                for key, minute in minutes.items()
                if minute.ends_at <= now
            ]

    def _write(self, refused: Refusal, repeated: int) -> bool | None:
        """Write a row. False when there is no such meeting, None when the database did not take it."""
        try:
            with self._runtime.transaction() as tx:
                return record(tx, refused, repeated)
        except (DomainError, TransactionConflict) as broken:
            log.warning("refusal_not_recorded", extra={"meeting_id": refused.meeting_id, "error": str(broken)})
        except Exception:
            log.exception("refusal_not_recorded", extra={"meeting_id": refused.meeting_id})
        return None


def attach(app: Flask, runtime: Runtime) -> Refusals:
    """Give an application its refusals."""
    app.extensions[_NAME] = Refusals(runtime)
    return current_refusals(app)


def current_refusals(app: Flask | None = None) -> Refusals:
    """Return the refusals of an application, the current one by default."""
    found: Refusals = (app or current_app).extensions[_NAME]
    return found
