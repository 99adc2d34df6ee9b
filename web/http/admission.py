"""Admission: how many requests work at once, and who waits (promises P13, F16).

Without a limit every request of a crowd begins at once, each waits for all others, and all are late. So a few work,
some wait in line for as long as somebody would wait for an answer, and the rest are told at once to come back.

One meeting gets half of it at most: while its row is locked its requests all wait for the lock, and they must not
take the places of everybody else's.
"""

import itertools
import threading
import time
from collections import Counter
from typing import NamedTuple

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from shared.core.errors import ServiceUnavailable
from shared.core.metrics import REFUSED, WAITING
from shared.core.settings import Settings

# What asks no database, or asks it how we are, must answer when nothing else does. A WebSocket has limits of its own
# (web.realtime.handshake) and lasts as long as its meeting. Anything that is not named here is gated.
UNGATED = frozenset({"health", "metrics", "api-docs", "asyncapi", "assets", "realtime"})

TOO_MANY = "Too many requests at once; try again."

# Waiting and work together: with the way there and back an answer takes two seconds at most (P13).
PATIENCE_SECONDS = 1.5
# A crowd that comes once and is done soon is served to the last of it: a line that has not stood for longer than this
# is not yet too much work, and is waited in for longer.
CROWD_SECONDS = 2.0
CROWD_PATIENCE_SECONDS = 5.0
# However slow the work is: a slot that becomes free must find somebody who waits for it.
LEAST_PATIENCE_SECONDS = 0.1
# How much of the slowest work is remembered after one more request: half after fifty.
_FADING = 0.986


class _Waiter:
    """A request in line. `is_in` changes under the gate's lock only."""

    __slots__ = ("called", "came", "is_in", "key")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.came = time.monotonic()
        self.called = threading.Event()
        self.is_in = False


class Gate:
    """`slots` requests are in at once, `places` more wait in the order in which they came.

    Each waits `patience` seconds, less what the slowest took that was in of late: to be let in so late that the answer
    comes too late helps nobody. A line that lasts is kept short by that; more of it would not get more work done. In a
    line that began less than CROWD_SECONDS ago they wait CROWD_PATIENCE_SECONDS, or until it is older than that.

    Requests with the same key have half of the slots and three quarters of the places between them, rounded up; those
    without a key (None) share nothing. Works between threads as between greenlets.
    """

    def __init__(self, slots: int, places: int, patience: float) -> None:
        self.patience = patience
        self._slowest = 0.0
        self._free = slots
        self._places = places
        self._slots_per_key = (slots + 1) // 2
        self._places_per_key = (3 * places + 3) // 4
        self._lock = threading.Lock()
        self._in: Counter[str] = Counter()
        self._in_line: Counter[str] = Counter()
        self._line: dict[_Waiter, None] = {}  # a list from which anybody can step out
        self._line_began = 0.0

    def enter(self, key: str | None) -> None:
        """Take a slot, or wait for one. Whoever is in calls `leave`, once. Raises ServiceUnavailable."""
        with self._lock:
            # Nobody in line is passed: with a slot free, all who wait there wait for their own key.
            if self._may_enter(key):
                self._take(key)
                return
            waiter = self._queue_up(key)
            patience = self._patience_left()
        try:
            waiter.called.wait(patience)
        except BaseException:  # a greenlet can be killed where it waits
            if self._is_in_after_all(waiter):
                self.leave(key, 0.0)
            raise
        if not self._is_in_after_all(waiter):
            raise _refusal("patience")

    def leave(self, key: str | None, took: float) -> None:
        """Give a slot back after `took` seconds: to the first in line who may have it, who alone is let in."""
        with self._lock:
            self._slowest = max(took, self._slowest * _FADING)
            self._free += 1
            if key is not None:
                _decrease(self._in, key)
            self._refuse_late()
            # One who leaves lets one in at most: others wait for a key that is as full as before.
            for waiter in self._line:
                if self._may_enter(waiter.key):
                    self._step_out(waiter)
                    self._take(waiter.key)
                    waiter.is_in = True
                    waiter.called.set()
                    return

    def _patience_left(self) -> float:
        if time.monotonic() - self._line_began < CROWD_SECONDS:
            return CROWD_PATIENCE_SECONDS
        return max(LEAST_PATIENCE_SECONDS, self.patience - self._slowest)

    def _refuse_late(self) -> None:
        """Send away who came when the work was faster, and has waited too long for what it takes by now."""
        latest = time.monotonic() - self._patience_left()
        for waiter in list(itertools.takewhile(lambda waiter: waiter.came < latest, self._line)):
            self._step_out(waiter)
            waiter.called.set()

    def _may_enter(self, key: str | None) -> bool:
        return self._free > 0 and (key is None or self._in[key] < self._slots_per_key)

    def _take(self, key: str | None) -> None:
        self._free -= 1
        if key is not None:
            self._in[key] += 1

    def _queue_up(self, key: str | None) -> _Waiter:
        if len(self._line) >= self._places or (key is not None and self._in_line[key] >= self._places_per_key):
            raise _refusal("line")
        waiter = _Waiter(key)
        if not self._line:
            self._line_began = waiter.came
        self._line[waiter] = None
        if key is not None:
            self._in_line[key] += 1
        WAITING.inc()
        return waiter

    def _step_out(self, waiter: _Waiter) -> None:
        del self._line[waiter]
        if waiter.key is not None:
            _decrease(self._in_line, waiter.key)
        WAITING.dec()

    def _is_in_after_all(self, waiter: _Waiter) -> bool:
        """Tell whether a waiter was let in, if only at the very end of its patience; if not, it is out of the line."""
        with self._lock:
            if waiter in self._line:
                self._step_out(waiter)
            return waiter.is_in


def _decrease(counts: Counter[str], key: str) -> None:
    """Count one less. A key that counts nothing is forgotten: keys are what clients send."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _refusal(why: str) -> ServiceUnavailable:
    REFUSED.labels(why).inc()
    return ServiceUnavailable(TOO_MANY)


# Endpoints whose requests share transactions (web.http.together). Most of those who are in only wait for the others of
# their batch, so more of them may be in: the more come together, the less each of them costs.
SHARING: set[str] = set()
SHARERS_PER_SLOT = 4


def install(app: Flask, settings: Settings) -> None:
    """Gate the doors. Must come before any hook that does work."""
    slots, places = settings.http_max_in_flight, settings.http_max_waiting
    gate = app.extensions["parley-gate"] = Gate(slots, places, PATIENCE_SECONDS)
    sharing = Gate(SHARERS_PER_SLOT * slots, places, PATIENCE_SECONDS)

    def enter() -> None:
        if request.endpoint is None or request.blueprint in UNGATED or request.method == "OPTIONS":
            return
        _read_body()
        key = (request.view_args or {}).get("meeting_id")
        _enter(sharing if request.endpoint in SHARING and may_share() else gate, key)

    def measure(response: Response) -> Response:
        # What waited for a lock or a server in vain says nothing of how long work takes: one locked meeting would
        # leave the others no patience.
        if "admitted" in g and response.status_code != 503:
            g.worked = time.monotonic() - g.admitted.since
        return response

    def leave(_: BaseException | None) -> None:
        # Also after a refusal of this or a later hook. An answer is whole by now: who reads it slowly holds no slot.
        admitted = g.pop("admitted", None)
        if admitted is not None:
            admitted.gate.leave(admitted.key, g.pop("worked", 0.0))

    app.before_request(enter)
    app.after_request(measure)
    app.teardown_request(leave)


class _Admitted(NamedTuple):
    gate: Gate
    key: str | None
    since: float


def _enter(gate: Gate, key: str | None) -> None:
    gate.enter(key)
    g.admitted = _Admitted(gate, key, time.monotonic())


def may_share() -> bool:
    """Tell whether the request at hand can be one that is done with others (web.http.together)."""
    return "Authorization" in request.headers


def work_alone() -> None:
    """Let the request at hand, which is in to share a transaction, wait for a slot of its own. Raises
    ServiceUnavailable."""
    gate: Gate = current_app.extensions["parley-gate"]
    if "admitted" in g and g.admitted.gate is not gate:
        admitted = g.pop("admitted")
        admitted.gate.leave(admitted.key, 0.0)
        _enter(gate, admitted.key)


def _read_body() -> None:
    """Read the body first: a few who send theirs slowly would hold all slots otherwise."""
    try:
        request.get_data(cache=True)
    except RequestEntityTooLarge:
        return  # the door will say so, after what it has to say about the credential
