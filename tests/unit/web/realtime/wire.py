"""Connections on socketpairs instead of TCP, and events in the real ledger."""

import itertools
import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection as Protocol
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage

from shared.core.ids import new_id
from shared.core.ledger import Entry
from shared.core.messages import MeetingEvent
from shared.identity.actor import Actor
from shared.realtime.envelope import Wakeup, frame_of
from shared.runtime import Runtime
from web.realtime.connection import Connection

NOBODY = Actor(name="Nobody")
_count = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(MeetingEvent):
    """An event of the tests."""

    type: ClassVar[str] = "chat"
    text: str
    does: str | None = None

    def data(self) -> dict[str, Any]:
        """Say it."""
        return {"text": self.text}

    @property
    def effect(self) -> str | None:
        """Return what hubs are to do."""
        return self.does


def say(runtime: Runtime, meeting_id: str, *texts: str, does: str | None = None) -> list[Wakeup]:
    """Write events into a meeting's stream; return the wake-ups, which nobody has delivered yet."""
    wakeups = []
    for text in texts or (str(next(_count)),):
        with runtime.transaction() as tx:
            tx.emit(Said(meeting_id=meeting_id, text=text, does=does))
        wakeups += [wakeup_of(entry) for entry in tx.entries]
    return wakeups


def wakeup_of(entry: Entry) -> Wakeup:
    """Return how an event travels."""
    return Wakeup(entry.stream, entry.seq, entry.effect, frame_of(entry))


class Peer:
    """Both ends of a WebSocket: the server's connection, and the client who reads it."""

    def __init__(
        self,
        meeting_id: str = "M",
        participant_id: str = "P",
        *,
        actor: Actor = NOBODY,
        address: str = "192.0.2.1",
        expires_at: float = float("inf"),
        buffer: int | None = None,
    ) -> None:
        self.socket, self.theirs = socket.socketpair()
        if buffer:
            self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.connection = Connection(
            new_id(), meeting_id, participant_id, actor, self.theirs, address=address, expires_at=expires_at
        )
        self._protocol = Protocol(ConnectionType.CLIENT)
        self._text = ""
        self.close_code: int | None = None
        self.is_cut = False
        self.pings = self.pongs = 0

    def read(self, seconds: float = 0.1) -> list[Any]:
        """Return the messages that come until nothing does for `seconds`."""
        messages: list[Any] = []
        while not self.is_cut and select.select([self.socket], [], [], seconds)[0]:
            data = self.socket.recv(65536)
            if not data:
                self.is_cut = True
                break
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                self._take(event, messages)
        return messages

    def _take(self, event: Event, messages: list[Any]) -> None:
        if isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                messages.append(json.loads(self._text))
                self._text = ""
        elif isinstance(event, CloseConnection):
            self.close_code = event.code
        elif isinstance(event, Ping):
            self.pings += 1
        elif isinstance(event, Pong):
            self.pongs += 1

    def heard(self, seconds: float = 0.1) -> list[tuple[int, str]]:
        """Return number and text of the events that come."""
        return [(m["seq"], m["data"]["text"]) for m in self.read(seconds)]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.abort()
        self.socket.close()
        self.theirs.close()


def wait_for(check: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until `check` says yes."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not come to be in time"
        time.sleep(0.01)


class Stop(BaseException):
    """Ends a loop that runs for ever."""


def run_once(monkeypatch: pytest.MonkeyPatch, loop: Any, times: int = 2) -> None:
    """Run a loop so many times."""
    turns = []

    def sleep(_: float) -> None:
        turns.append(1)
        if len(turns) > times:
            raise Stop

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(Stop):
        loop()
    monkeypatch.undo()
