"""Meetings with people in them, and whole installations, for the tests with real processes."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from dev.http_client import Api
from dev.valkey import Valkey
from dev.websocket_client import Refused, Socket
from shared.core.ids import new_id
from shared.core.settings import Settings
from tests.stack import Stack, migrate

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Room:
    """A running meeting; the first of the people is its host, all are inside."""

    stack: Stack
    meeting_id: str
    people: tuple[Api, ...]
    seats: tuple[Json, ...]

    def path(self, rest: str) -> str:
        """Return the path of something in the meeting."""
        return f"/meetings/{self.meeting_id}{rest}"

    def id_of(self, who: int) -> str:
        """Return somebody's participant id."""
        return str(self.seats[who]["participant_id"])

    def open(self, who: int, *, at: Stack | None = None, web: int = 0, **options: Any) -> Socket:
        """Open somebody's WebSocket, at another stack of the same installation if one is given."""
        return (at or self.stack).socket(self.people[who], self.meeting_id, web=web, **options)

    def say(self, who: int, content: str, **more: Any) -> Json:
        """Write to the chat over HTTP."""
        said: Json = (
            self.people[who].post(self.path("/chat"), {"content": content, "message_type": "text", **more}).data
        )
        return said

    def events(self, who: int, after: int = 0) -> list[Json]:
        """Return the meeting's stream as the ledger tells it to somebody."""
        told: list[Json] = self.people[who].get(self.path(f"/events?stream=meeting&after_seq={after}&limit=200")).data
        return told


def furnish(stack: Stack, *names: str, web: int = 0, **wishes: Any) -> Room:
    """Return a new running meeting with new people inside."""
    people = tuple(stack.person(name, web=web) for name in names)
    meeting_id = stack.meeting(people[0], **wishes)
    seats = tuple(person.post(f"/meetings/{meeting_id}/join").data for person in people)
    return Room(stack, meeting_id, people, seats)


def refusal(room: Room, who: int | None, **options: Any) -> Refused:
    """Return how the upgrade is refused, which it must be; `who` None is somebody without a token."""
    token = options.pop("token", None if who is None else room.people[who].token)
    meeting_id = options.pop("meeting_id", room.meeting_id)
    with pytest.raises(Refused) as caught:
        Socket(room.stack.url, meeting_id, token=token, **options)
    refused = caught.value
    body = refused.answer.body
    assert set(body) == {"status", "message", "code", "details", "timestamp", "request_id"}, body
    assert body["status"] == "error"
    assert refused.answer.headers["x-request-id"] == body["request_id"]
    return refused


def chats(frames: list[Json]) -> list[str]:
    """Return what was said in frames."""
    return [frame["data"]["content"] for frame in frames if frame["type"] == "chat"]


def numbers(frames: list[Json], stream: str = "meeting") -> list[int]:
    """Return the numbers of the frames of a stream."""
    return [frame["seq"] for frame in frames if frame.get("stream") == stream]


def ask(socket: Socket, type_: str, data: Any = None, seconds: float = 10.0) -> Json:
    """Send a frame with an id of its own; return the ack or the error."""
    return socket.request(type_, data, new_id(), seconds)


def quiet(frames: list[Json]) -> list[Json]:
    """Return frames without those that only tell that a socket of an earlier moment came or went."""
    return [frame for frame in frames if frame["type"] != "connection_status"]


def hear(socket: Socket, content: str, seconds: float = 10.0) -> Json:
    """Return the frame with that message."""
    return socket.until(lambda f: f["type"] == "chat" and f["data"]["content"] == content, seconds)


def eventually(check: Callable[[], Any], seconds: float = 10.0, pause: float = 0.1) -> Any:
    """Return the first true answer of `check`. Raises AssertionError when there is none in time."""
    until = time.monotonic() + seconds
    while True:
        if answer := check():
            return answer
        assert time.monotonic() < until, "it did not come to be in time"
        time.sleep(pause)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(0)` to `work(count - 1)` in threads that begin together; return the results in order."""
    results: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def run(index: int) -> None:
        gate.wait()
        try:
            results[index] = work(index)
        except Exception as broken:
            results[index] = broken

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@contextmanager
def installation(settings: Settings, directory: Path, **changes: Any) -> Iterator[tuple[Settings, Valkey]]:
    """Yield settings with a database and a Valkey of their own, for tests that stop parts or want other beats."""
    name = f"parley_{secrets.token_hex(6)}"
    engine = None
    if settings.database_url.startswith("sqlite"):
        url = f"sqlite:///{directory}/{name}.db"
    else:
        engine = sqlalchemy.create_engine(settings.database_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f'CREATE DATABASE "{name}"'))
        url = engine.url.set(database=name).render_as_string(hide_password=False)
    migrate(url)
    try:
        with Valkey() as valkey:
            yield replace(settings, database_url=url, redis_url=valkey.url, **changes), valkey
    finally:
        if engine is not None:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
            engine.dispose()
