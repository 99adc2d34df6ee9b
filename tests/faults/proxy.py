"""A TCP proxy that breaks a connection in the ways networks do: one per way between two processes, told what to do
by method calls. Standard library only, no root.

A thread of its own runs it. All methods may be called from any thread, and have happened when they return.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from dev.process import LOOPBACK, free_port

PIECE_BYTES = 65_536
HELD_BYTES = 1_048_576  # on its way, in one direction of one connection; beyond it the sender has to wait
START_SECONDS = 5.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST

Direction = Literal["up", "down"]
T = TypeVar("T")


@dataclass(slots=True)
class Weather:
    """What the proxy does to bytes; `up` is from the client to the server."""

    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: int = 0
    silent: frozenset[Direction] = frozenset()


class Proxy:
    """Listens on a loopback port of its own and passes everything on to `port`, until it is told otherwise."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.target = port
        self.connections = 0
        self._weather = Weather()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    # --- what a test says

    def heal(self) -> None:
        """Pass everything on again, what was held back included; listen again."""
        self._now(self._heal)

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Let every byte arrive `seconds` later, and up to `jitter` more. Order is kept."""
        self._set(Weather(delay=seconds, jitter=jitter))

    def throttle(self, bytes_per_second: int) -> None:
        """Pass on no more than so many bytes a second, in each direction of each connection."""
        self._set(Weather(bytes_per_second=bytes_per_second))

    def blackhole(self) -> None:
        """Keep the connections, move no byte: a half-open connection. New ones are accepted and hear nothing."""
        self._set(Weather(silent=frozenset(("up", "down"))))

    def half(self, direction: Direction) -> None:
        """Move no byte in one direction."""
        self._set(Weather(silent=frozenset((direction,))))

    def reset(self) -> None:
        """Cut all connections with RST, once. New ones are served."""
        self._now(self._reset)

    def refuse(self) -> None:
        """Cut all connections with RST and take no more, until `heal`."""
        self._now(self._refuse)

    def __enter__(self) -> Self:
        self._thread.start()
        self._now(self._heal)
        return self

    def __exit__(self, *_: object) -> None:
        self._now(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    # --- what happens in the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _now(self, do: Callable[[], "asyncio.Future[T] | T"]) -> None:
        async def call() -> None:
            done = do()
            if asyncio.iscoroutine(done):
                await done

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(START_SECONDS)

    def _set(self, weather: Weather) -> None:
        self._now(lambda: self._turn(weather))

    def _turn(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def _heal(self) -> None:
        self._turn(Weather())
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, backlog=512)

    def _reset(self) -> None:
        for writer in list(self._writers):
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset()

    async def _stop(self) -> None:
        self._refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        other: asyncio.StreamWriter | None = None
        try:
            back, other = await asyncio.open_connection(LOOPBACK, self.target)
            self._writers.add(other)
            await asyncio.gather(_Way(self, "up", reader, other).run(), _Way(self, "down", back, writer).run())
        except (OSError, asyncio.CancelledError):
            pass  # the server is not there, or we stop: to the client it is the same
        finally:
            self.connections -= 1
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()
            self._tasks.discard(task)

    @property
    def weather(self) -> Weather:
        """Return what is done to bytes now."""
        return self._weather

    async def change(self) -> None:
        """Wait until something else is done to bytes."""
        await self._changed.wait()


class _Way:
    """One direction of one connection: a reader and a writer with a queue between them."""

    def __init__(
        self, proxy: Proxy, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._direction: Direction = direction
        self._reader = reader
        self._writer = writer
        self._held: deque[tuple[float, bytes]] = deque()  # when it may arrive, and what; empty bytes: the end
        self._size = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Pass everything on. Returns at the end of the stream; the other direction goes on."""
        taking = asyncio.ensure_future(self._take())
        try:
            await self._give()
        except ConnectionError:
            self._writer.transport.abort()
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        latest = 0.0
        data = b"."
        while data:
            while self._size > HELD_BYTES:
                await self._pause()
            try:
                data = await self._reader.read(PIECE_BYTES)
            except ConnectionError:
                self._writer.transport.abort()
                data = b""
            weather = self._proxy.weather
            latest = max(latest, loop.time() + weather.delay + random.uniform(0, weather.jitter))
            self._held.append((latest, data))
            self._size += len(data)
            self._wake.set()

    async def _pause(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._direction in self._proxy.weather.silent:
                await self._proxy.change()
            if not self._held:
                await self._pause()
                continue
            at, data = self._held[0]
            if at > loop.time() and self._proxy.weather.delay:
                await asyncio.sleep(at - loop.time())
                continue
            self._held.popleft()
            self._size -= len(data)
            self._wake.set()
            if not data:
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        rate = self._proxy.weather.bytes_per_second
        if not rate:
            self._writer.write(data)
            await self._writer.drain()
            return
        piece = max(1, rate // 20)
        for start in range(0, len(data), piece):
            self._writer.write(data[start : start + piece])
            await self._writer.drain()
            if self._proxy.weather.bytes_per_second:
                await asyncio.sleep(piece / rate)
