"""Clients as an SDK would be: each keeps one WebSocket, comes back with `since`, sends again what was not answered,
and writes down what it saw. One thread with one loop carries hundreds of them.
"""

import asyncio
import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlencode

from tests.faults.history import History, Kind
from tests.faults.wire import Answer, Closed, Refused, WebSocket, request

BACKOFF_SECONDS = (0.25, 8.0)
UPGRADE_SECONDS = 12.0
ANSWER_SECONDS = 12.0
GIVE_UP_SECONDS = 150.0
RETRYABLE_CODES = {"SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "IDEMPOTENCY_IN_PROGRESS", "RATE_LIMIT_EXCEEDED"}
GOING_AWAY = 1012

Door = Literal["ws", "rest"]
_keys = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody's place in a meeting, and the token that says so."""

    meeting_id: str
    participant_id: str
    token: str
    is_staff: bool = False

    def stream(self, name: str) -> str:
        """Return the inner key of a stream as this person calls it."""
        return {"meeting": f"m:{self.meeting_id}", "hosts": f"h:{self.meeting_id}", "me": f"p:{self.participant_id}"}[
            name
        ]


def described(frame: dict[str, Any]) -> str:
    """Return the type of an event and, when it is about somebody's presence, who it is and how: `leave 01… left`."""
    data = frame["data"]
    how = data.get("status") if frame["type"] == "connection_status" else data.get("reason", "")
    if frame["type"] in ("join", "leave", "connection_status"):
        return f"{frame['type']} {data['participant_id']} {how}".strip()
    return str(frame["type"])


class Unknown(Exception):
    """Nobody can say whether it happened."""


class Client:
    """One person's device. Made by Crowd.add; everything but the constructor runs in the crowd's loop."""

    def __init__(self, crowd: "Crowd", seat: Seat, ports: Sequence[int], home: int, by_ticket: bool) -> None:
        self.seat = seat
        self.name = seat.participant_id
        self.ports = list(ports)
        self.home = home
        self.cursors: dict[str, int] = {}
        self.epoch = ""
        self.is_connected = False
        self.is_over = False
        self.close_codes: list[int] = []
        self.resumed_after: list[float] = []  # seconds from each loss to the welcome that ended it
        self.welcomes = 0
        self._crowd = crowd
        self._by_ticket = by_ticket
        self._socket: WebSocket | None = None
        self._open = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._lost_at: float | None = None
        self._failures = 0
        self._detour = 0  # requests go elsewhere for a while, the WebSocket stays
        self._told: dict[str, int] = {}  # by the snapshot of this connection; its events may come again

    def _note(self, kind: Kind, **what: Any) -> None:
        self._crowd.note(self.name, kind, **what)

    @property
    def port(self) -> int:
        """Return where this client goes at the moment."""
        return self.ports[self.home % len(self.ports)]

    # --- the connection

    async def live(self) -> None:
        """Keep a WebSocket until `is_over`."""
        while not self.is_over:
            try:
                await self._session()
            except Closed as closed:
                self._after(closed.code)
            except Refused as refused:
                self._note("refused", detail=str(refused))
                await self._after_refusal(refused.answer)
            except (OSError, TimeoutError) as broken:
                self._note("refused", detail=f"0 {type(broken).__name__}")
                self._failures += 1
            if not self.is_over:
                self.home += 1
                await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        least, most = BACKOFF_SECONDS
        return random.uniform(0, min(most, least * 2 ** max(0, self._failures - 1)))

    def _after(self, code: int) -> None:
        self.close_codes.append(code)
        if code >= 4500:
            self.is_over = True

    async def _after_refusal(self, answer: Answer) -> None:
        self._failures += 1
        if answer.status in (403, 404, 410) and answer.code != "RATE_LIMIT_EXCEEDED":
            # Taken out for being away too long: ask for the seat again. The server will not let us resume.
            with contextlib.suppress(OSError, TimeoutError):
                joined = await self.call("POST", f"/meetings/{self.seat.meeting_id}/join", {})
                self._note("connect", detail=f"join {joined.status} {joined.code}")
                self.is_over = joined.status in (403, 404, 410)

    async def _session(self) -> None:
        self._socket = await asyncio.wait_for(self._connect(), UPGRADE_SECONDS)
        welcomed = False
        try:
            while True:
                for text in await self._socket.receive():
                    await self._take(json.loads(text), welcomed)
                    welcomed = True
        finally:
            self._hang_up()

    async def _connect(self) -> WebSocket:
        query = {}
        if self.cursors:
            query = {"since": ",".join(f"{name}:{seq}" for name, seq in self.cursors.items()), "epoch": self.epoch}
        token = self.seat.token
        if self._by_ticket:
            given = await self.call("POST", f"/meetings/{self.seat.meeting_id}/ws-ticket", {})
            if given.status != 201:
                raise Refused(given)
            query, token = {**query, "ticket": given.data["ticket"]}, ""
        target = f"/ws/meetings/{self.seat.meeting_id}"
        return await WebSocket.open(self.port, f"{target}?{urlencode(query)}" if query else target, token=token)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.drop()
        self._socket = None
        self._open.clear()
        if self.is_connected:
            self.is_connected = False
            self._lost_at = time.monotonic()
            self._note("disconnect")
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unknown("the connection broke"))

    async def _take(self, frame: dict[str, Any], welcomed: bool) -> None:
        kind = frame["type"]
        if not welcomed:
            await self._greet(frame["data"])
        elif kind in ("ack", "error"):
            waiting = self._waiting.get(str(frame["id"]))
            if waiting is not None and not waiting.done():
                waiting.set_result(frame)
        elif kind == "resync":
            await self._resync()
        elif frame["seq"] is not None:
            self._hear(frame)

    async def _greet(self, welcome: dict[str, Any]) -> None:
        fresh = not self.cursors
        self.epoch = welcome["epoch"]
        self._told = {}
        self._note("connect", detail=str(self.home % len(self.ports)), seq=int(welcome["recovered"]))
        if fresh:
            self._start(welcome["cursors"], "fresh")
        if fresh or welcome["recovered"]:
            self._ready()

    def _start(self, cursors: dict[str, int], why: str) -> None:
        self.cursors = dict(cursors)
        for name, seq in self.cursors.items():
            self._note("start", stream=self.seat.stream(name), seq=seq, detail=why)

    def _ready(self) -> None:
        self._failures = self._detour = 0
        self.welcomes += 1
        self.is_connected = True
        if self._lost_at is not None:
            self.resumed_after.append(time.monotonic() - self._lost_at)
            self._lost_at = None
        self._open.set()
        self._crowd.changed()

    async def _resync(self) -> None:
        taken = await self.call("GET", f"/meetings/{self.seat.meeting_id}/snapshot")
        if taken.status != 200:
            raise ConnectionError(f"no snapshot: {taken.status} {taken.code}")
        self._start(taken.data["cursors"], "resync")
        self._told = dict(self.cursors)
        self._ready()

    def _hear(self, frame: dict[str, Any]) -> None:
        name, seq = frame["stream"], frame["seq"]
        if seq <= self._told.get(name, 0):
            return
        self.cursors[name] = max(seq, self.cursors.get(name, 0))
        data = frame["data"]
        key = data["content"].split(" ")[0] if frame["type"] == "chat" and data.get("action") == "posted" else None
        self._note("recv", stream=self.seat.stream(name), seq=seq, key=key, detail=described(frame))

    # --- what it does

    async def call(self, method: str, path: str, body: Any = None, key: str = "", port: int = 0) -> Answer:
        """Send a request, to the process this client is at unless told otherwise. Raises OSError, TimeoutError."""
        headers = {"Idempotency-Key": key} if key else {}
        sent = request(port or self.port, method, f"/api/v1{path}", body, token=self.seat.token, headers=headers)
        return await asyncio.wait_for(sent, ANSWER_SECONDS)

    async def say(self, door: Door, to: Seat | None = None, padding: int = 0) -> bool:
        """Send one message until it is known what became of it. Returns whether it was acknowledged."""
        key = f"{self.name[-6:]}-{next(_keys)}"
        message: dict[str, Any] = {"content": f"{key} {'x' * padding}"[:4000], "message_type": "text"}
        if to is not None:
            message["recipient_id"] = to.participant_id
        allowed = None if to is None else frozenset((self.name, to.participant_id))
        self._note("invoke", key=key, detail=door, to=allowed)
        until = time.monotonic() + GIVE_UP_SECONDS
        pause = 0.05
        while time.monotonic() < until and not self._crowd.is_over:
            try:
                return await (self._over_socket if door == "ws" else self._over_http)(key, message)
            except (Unknown, OSError, TimeoutError) as broken:
                self._note("unknown", key=key, detail=f"{type(broken).__name__} {broken}")
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(2.0, pause * 2)
        return False

    async def _over_socket(self, key: str, message: dict[str, Any]) -> bool:
        await asyncio.wait_for(self._open.wait(), ANSWER_SECONDS)
        if self._socket is None:
            raise Unknown("the connection broke")
        answered = asyncio.get_running_loop().create_future()
        self._waiting[key] = answered
        try:
            self._socket.send({"type": "chat", "data": message, "id": key})
            frame = await asyncio.wait_for(answered, ANSWER_SECONDS)
        finally:
            del self._waiting[key]
        if frame["type"] == "ack":
            return self._acked(key, frame)
        return self._refused(key, frame["code"])

    async def _over_http(self, key: str, message: dict[str, Any]) -> bool:
        port = self.ports[(self.home + self._detour) % len(self.ports)]
        try:
            answer = await self.call("POST", f"/meetings/{self.seat.meeting_id}/chat", message, key, port)
        except OSError:
            self._detour += 1
            raise
        self._crowd.statuses[answer.status] = self._crowd.statuses.get(answer.status, 0) + 1
        if answer.status == 201:
            return self._acked(key, answer.data)
        return self._refused(key, answer.code)

    def _acked(self, key: str, position: dict[str, Any]) -> bool:
        self._note("ok", key=key, stream=self.seat.stream(position["stream"]), seq=position["seq"])
        return True

    def _refused(self, key: str, code: str) -> bool:
        if code in RETRYABLE_CODES:
            raise Unknown(code)
        self._note("fail", key=key, detail=code)
        return False

    async def chatter(
        self, pace: float, until: asyncio.Event, doors: Sequence[Door], others: Sequence[Seat], padding: int
    ) -> None:
        """Say something every `pace` seconds or so; one in eight is private."""
        while not until.is_set():
            began = time.monotonic()
            to = random.choice(others) if others and random.random() < 0.125 else None
            await self.say(random.choice(list(doors)), to, padding)
            rest = random.uniform(0.5, 1.5) * pace - (time.monotonic() - began)
            if rest > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(until.wait(), rest)

    def leave(self) -> None:
        """Stop living, politely."""
        self.is_over = True
        if self._socket is not None:
            self._socket.close()

    def drop(self) -> None:
        """Lose the connection; the client comes back by itself."""
        if self._socket is not None:
            self._socket.drop()


class Crowd:
    """Clients in a loop of their own, and their common history. Methods without underscore are for the test."""

    def __init__(self) -> None:
        self.history = History()
        self.clients: list[Client] = []
        self.statuses: dict[int, int] = {}
        self.acked = 0
        self.is_over = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._condition = threading.Condition()
        self._lives: dict[Client, asyncio.Task[None]] = {}
        self._talks: list[asyncio.Task[None]] = []
        self._enough = asyncio.Event()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over = True
        self.do(self._end(), 60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        tasks = [*self._talks, *self._lives.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- for the clients

    def note(self, who: str, kind: Kind, **what: Any) -> None:
        """Write down, and let the test know."""
        self.history.note(who, kind, **what)
        if kind == "ok":
            self.acked += 1
        self.changed()

    def changed(self) -> None:
        """Let the test look whether what it waits for is there."""
        with self._condition:
            self._condition.notify_all()

    # --- for the test

    def do(self, what: Coroutine[Any, Any, Any], seconds: float = 30.0) -> Any:
        """Run something in the loop and wait for what comes of it."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(seconds)

    def start(self, what: Coroutine[Any, Any, None]) -> "Future[None]":
        """Begin something in the loop."""
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    def add(self, seat: Seat, ports: Sequence[int], home: int = 0, by_ticket: bool = False) -> Client:
        """Let somebody connect, at first to the port with the number `home`."""

        async def begin() -> Client:
            client = Client(self, seat, ports, home, by_ticket)
            self.clients.append(client)
            self._lives[client] = asyncio.create_task(client.live())
            return client

        added: Client = self.do(begin())
        return added

    def remove(self, client: Client) -> None:
        """Let somebody go away."""

        async def end() -> None:
            client.leave()
            life = self._lives.pop(client)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            self.clients.remove(client)

        self.do(end())

    def wait_for(self, predicate: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait until something is true of the clients; return how long it took."""
        began = time.monotonic()
        with self._condition:
            if not self._condition.wait_for(predicate, seconds):
                raise AssertionError(f"not within {seconds} s: {what}")
        return time.monotonic() - began

    def wait_until_connected(self, seconds: float = 30.0) -> float:
        """Wait until everybody has a connection."""
        return self.wait_for(lambda: all(c.is_connected for c in self.clients), seconds, "all are connected")

    def wait_until_acked(self, more: int, seconds: float = 60.0) -> float:
        """Wait until `more` further messages are acknowledged."""
        wanted = self.acked + more
        return self.wait_for(lambda: self.acked >= wanted, seconds, f"{more} more messages are acknowledged")

    def wait_until_heard(self, heads: dict[str, int], seconds: float = 30.0) -> float:
        """Wait until every client has heard every stream of its own up to its head."""

        def all_have() -> bool:
            return all(
                seq >= heads.get(client.seat.stream(name), 0)
                for client in self.clients
                if not client.is_over
                for name, seq in client.cursors.items()
            )

        return self.wait_for(all_have, seconds, "everybody has heard everything")

    def talk(self, senders: Sequence[Client], pace: float, doors: Sequence[Door], padding: int = 0) -> None:
        """Let some begin to talk, each every `pace` seconds, in public and to each other."""
        seats = [client.seat for client in senders]

        async def begin() -> None:
            self._enough.clear()
            for client in senders:
                others = [seat for seat in seats if seat != client.seat and seat.meeting_id == client.seat.meeting_id]
                self._talks.append(asyncio.create_task(client.chatter(pace, self._enough, doors, others, padding)))

        self.do(begin())

    def hush(self, seconds: float = GIVE_UP_SECONDS) -> None:
        """Let everybody finish what was begun, and say no more."""

        async def end() -> None:
            self._enough.set()
            await asyncio.gather(*self._talks)
            self._talks.clear()

        self.do(end(), seconds)
