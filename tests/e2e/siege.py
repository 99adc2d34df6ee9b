"""Trying the same things again and again while something changes, to find out when they worked for the last time."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dev.http_client import Answer, Api
from dev.websocket_client import Closed, Refused, Socket
from tests.e2e.room import Room, ask, eventually

PAUSE_SECONDS = 0.03
WATCH_SECONDS = 2.0


@dataclass(slots=True)
class Rest:
    """A request over a connection of its own; it works when it is answered by a success that `counts`."""

    room: Room
    who: Api
    web: int
    method: str
    rest: str
    body: Any = None
    counts: Callable[[Answer], bool] = lambda _: True
    undo: str = ""
    api: Api = field(init=False)

    def __post_init__(self) -> None:
        self.api = Api(self.room.stack.url_of(self.web), self.who.token)

    def attempt(self) -> bool:
        """Send the request, and the one that makes it possible once more. Returns whether it worked."""
        answer = self.api.call(self.method, self.room.path(self.rest), self.body)
        worked = answer.status in (200, 201) and self.counts(answer)
        if worked and self.undo:
            self.api.post(self.room.path(self.undo))
        return worked


@dataclass(slots=True)
class Frame:
    """A frame over a socket of its own; it works when it is acknowledged, or when a closed socket opens again."""

    room: Room
    who: Api
    web: int
    type: str
    data: Mapping[str, Any]
    socket: Socket | None = None
    closings: list[tuple[int, float]] = field(default_factory=list)

    def attempt(self) -> bool:
        """Send the frame. Returns whether it worked."""
        try:
            if self.socket is None:
                self.socket = self.room.stack.socket(self.who, self.room.meeting_id, web=self.web)
                if self.closings:
                    return True
            return bool(ask(self.socket, self.type, self.data)["type"] == "ack")
        except Closed as closed:
            self.closings.append((closed.code, time.monotonic()))
            self.socket = None
        except Refused:
            pass
        return False


Way = Rest | Frame


@dataclass(slots=True)
class Siege:
    """Ways that are all tried at the same time, each in a thread of its own."""

    ways: Mapping[str, Way]
    worked: dict[str, list[float]] = field(init=False)
    tried: dict[str, float] = field(default_factory=dict)
    broken: list[Exception] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.worked = {name: [] for name in self.ways}

    def last_successes(self, change: Callable[[], Answer]) -> tuple[dict[str, float], float]:
        """Return how many seconds after the answer to `change` each way worked for the last time (negative: before),
        and when that answer came. Every way must have worked before, and must be tried to the end."""
        threads = [threading.Thread(target=self._run, args=(name,)) for name in self.ways]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: all(self.worked.values()) or self.broken, 20)
            answer = change()
            at = time.monotonic()
            assert answer.status == 200, answer.body
            time.sleep(WATCH_SECONDS)
        finally:
            self._over.set()
            for thread in threads:
                thread.join(20)
            for way in self.ways.values():
                if isinstance(way, Frame) and way.socket is not None:
                    way.socket.close()
        assert self.broken == []
        assert all(tried > at + 1.0 for tried in self.tried.values()), "a way was given up too early"
        return {name: max(times) - at for name, times in self.worked.items()}, at

    def _run(self, name: str) -> None:
        while not self._over.is_set():
            try:
                if self.ways[name].attempt():
                    self.worked[name].append(time.monotonic())
            except Exception as broken:
                self.broken.append(broken)
                return
            self.tried[name] = time.monotonic()
            self._over.wait(PAUSE_SECONDS)

    def closings(self) -> list[list[tuple[int, float]]]:
        """Return how and when the socket of each way over frames was closed."""
        return [way.closings for way in self.ways.values() if isinstance(way, Frame)]
