"""The gateway: a WebSocket's life, from the upgrade to the last byte (contract 11)."""

import logging
import threading
import time
from typing import Any

from flask import Blueprint, Flask, g
from flask_sock import Sock

from shared.core.errors import RateLimitExceeded, ServiceUnavailable
from shared.core.ids import new_id
from shared.core.metrics import CLOSED
from shared.participants import heartbeat as people
from shared.realtime import close_codes
from shared.realtime.envelope import Wakeup, direct_frame
from shared.runtime import Runtime
from web.http.runtime import current_runtime
from web.realtime import dispatch, handshake
from web.realtime.buckets import TokenBucket
from web.realtime.connection import Connection
from web.realtime.frames import CLOSE, PING, TEXT, FrameError, FrameReader, encode_pong, encode_text
from web.realtime.handshake import Handshake
from web.realtime.heartbeat import Heartbeat
from web.realtime.hub import Hub
from web.realtime.subscriber import Subscriber

log = logging.getLogger(__name__)

RECEIVE_BYTES = 16_384
MALFORMED_LIMIT = 3
FLOOD_LIMIT = 200  # refused frames in a row after which a flooder is cut off

blueprint = Blueprint("realtime", __name__)
sock = Sock()


class Realtime:
    """The realtime engine of one process: built with the application, started by its first connection, after fork."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.hub = Hub(runtime, self._on_meeting)
        self.subscriber = Subscriber(runtime.settings.redis_url, self._on_wakeups, self._on_order, self._on_gap)
        self.heartbeat = Heartbeat(runtime, self.hub, self.subscriber)
        self._starting = threading.Lock()
        self._is_running = False

    def start(self) -> None:
        """Enter the process and start its threads, once. Raises ServiceUnavailable when the database is away."""
        with self._starting:
            if self._is_running:
                return
            self.heartbeat.enter()
            for run in (
                self.subscriber.run,
                self.heartbeat.watch,
                self.heartbeat.keep_lease,
                self.heartbeat.follow_ledger,
            ):
                threading.Thread(target=run, name=f"realtime-{run.__name__}", daemon=True).start()
            self._is_running = True

    def _on_meeting(self, meeting_id: str, is_here: bool) -> None:
        self.subscriber.follow(meeting_id, is_here)

    def _on_wakeups(self, wakeups: list[Wakeup]) -> None:
        if self.hub.deliver(wakeups):
            self.heartbeat.look_now()

    def _on_order(self, order: str) -> None:
        self.heartbeat.obey(order)

    def _on_gap(self) -> None:
        self.heartbeat.look_now()


class _NoThread:
    """In place of simple-websocket's reader thread: the handler reads for itself."""

    name = "(_thread)"

    def __init__(self, **_: Any) -> None: ...

    def start(self) -> None:
        """Start nothing."""


def install(app: Flask, runtime: Runtime) -> Realtime:
    """Give an application its realtime engine and its WebSocket route."""
    engine = Realtime(runtime)
    app.extensions["parley-realtime"] = engine
    app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": _NoThread}
    handshake.install(app, engine.hub)
    app.register_blueprint(blueprint)
    return engine


@sock.route("/ws/meetings/<meeting_id>", bp=blueprint, endpoint="meeting_socket")
def meeting_socket(ws: Any, meeting_id: str) -> None:
    """Serve a connection whose handshake was examined and accepted."""
    from flask import current_app

    engine: Realtime = current_app.extensions["parley-realtime"]
    found: Handshake = g.handshake
    ws.connected = False  # flask-sock must not write to the socket when we are done
    connection = Connection(
        new_id(),
        meeting_id,
        found.participant.id,
        found.actor,
        ws.sock,
        address=found.address,
        expires_at=found.expires_at,
    )
    try:
        _serve(engine, connection, found)
    finally:
        _end(engine, connection)


def _serve(engine: Realtime, connection: Connection, found: Handshake) -> None:
    if not _open(engine, connection, found):
        return
    _welcome(connection, found)
    for key, seq in found.start.items():
        engine.hub.subscribe(connection, key, seq)
    if _is_gone(engine, connection):
        connection.close(close_codes.TOKEN_ENDED, "this ended while you connected; ask again")
    _listen(engine, connection)


def _open(engine: Realtime, connection: Connection, found: Handshake) -> bool:
    """Register the connection here and in the database. False when it was told to go elsewhere."""
    try:
        engine.start()
        if not engine.hub.add(connection):
            connection.close(close_codes.GOING_AWAY, "restarting; come back with since")
            return False
        with engine.runtime.transaction() as tx:
            people.connection_opened(
                tx, connection.id, engine.heartbeat.process_id, connection.meeting_id, connection.participant_id
            )
    except ServiceUnavailable:
        connection.close(close_codes.INTERNAL, "try again")
        return False
    return True


def _welcome(connection: Connection, found: Handshake) -> None:
    now = current_runtime().now()
    data = handshake.welcome_of(found, connection.id)
    connection.write(encode_text(direct_frame("welcome", connection.meeting_id, data, now)))
    if found.needs_resync:
        connection.write(encode_text(direct_frame("resync", connection.meeting_id, {"cursors": found.cursors}, now)))


def _is_gone(engine: Realtime, connection: Connection) -> bool:
    """Tell whether the owner's right ended between the handshake and the registration: nobody else would notice."""
    session_id = connection.actor.session_id
    try:
        if session_id is not None:
            engine.heartbeat.check_sessions([connection])
        return False
    except ServiceUnavailable:
        return False


def _listen(engine: Realtime, connection: Connection) -> None:
    reader = FrameReader()
    person = dispatch.Sender(connection.meeting_id, connection.participant_id, connection.actor)
    inbound = _Inbound(engine.runtime, connection, person)
    while data := connection.receive(RECEIVE_BYTES):
        if connection.closing_since is not None and not data:
            return
        try:
            messages = reader.feed(data)
        except FrameError as broken:
            connection.close(broken.close_code, broken.reason)
            return
        for message in messages:
            if not inbound.take(message):
                return


class _Inbound:
    """What arrives on one connection, and how much patience is left with it."""

    def __init__(self, runtime: Runtime, connection: Connection, person: dispatch.Sender) -> None:
        self._runtime = runtime
        self._connection = connection
        self._person = person
        self._bucket = TokenBucket(runtime.settings.ratelimit_websocket, 60.0)
        self._limits_are_on = runtime.settings.ratelimit_enabled
        self._malformed = 0
        self._refused = 0

    def take(self, message: Any) -> bool:
        """Handle one message. False when the connection is over."""
        connection = self._connection
        if message.opcode == CLOSE:
            connection.close(close_codes.NORMAL)
            return False
        if connection.closing_since is not None:
            return True  # our close frame is out; only the peer's is awaited
        if message.opcode == PING:
            connection.write(encode_pong(message.payload))
            return True
        if message.opcode != TEXT:
            return True
        if self._limits_are_on and not self._bucket.take():
            return self._refuse()
        self._refused = 0
        return self._dispatch(message.payload)

    def _refuse(self) -> bool:
        self._refused += 1
        if self._refused > FLOOD_LIMIT:
            self._connection.close(close_codes.TOO_FAST_OR_SLOW, "you send too fast")
            return False
        limit = self._bucket.capacity
        reset_at = int(time.time() + self._bucket.seconds_to_next + 1)
        refusal = RateLimitExceeded(details={"limit": f"{limit} per 1 minute", "window": 60, "reset_at": reset_at})
        self._connection.write(encode_text(dispatch.error(None, refusal)))
        return True

    def _dispatch(self, payload: bytes) -> bool:
        outcome = dispatch.dispatch(self._runtime, self._person, payload)
        if outcome.is_ping:
            now = self._runtime.now()
            self._connection.write(encode_text(direct_frame("pong", self._connection.meeting_id, {}, now)))
        if outcome.frame is not None:
            self._connection.write(encode_text(outcome.frame))
        if outcome.is_malformed:
            self._malformed += 1
            if self._malformed >= MALFORMED_LIMIT:
                self._connection.close(close_codes.MALFORMED, "three frames were not valid JSON")
                return False
        return True


def _end(engine: Realtime, connection: Connection) -> None:
    """Forget a connection, here and in the database; what fails there is swept by beat when the lease is over."""
    engine.hub.remove(connection)
    if connection.close_code is not None:
        CLOSED.labels(connection.close_code).inc()
    _linger(connection)
    if engine.hub.is_draining:
        return  # the whole process is signed off in one statement, see web.realtime.drain
    try:
        with engine.runtime.transaction() as tx:
            people.connection_closed(tx, connection.id, connection.participant_id)
    except ServiceUnavailable:
        log.warning("connection_not_signed_off", extra={"connection_id": connection.id})


def _linger(connection: Connection) -> None:
    """Read until the peer has seen our close frame and hung up, or two seconds are over."""
    deadline = time.monotonic() + 2.0
    while connection.closing_since is not None and time.monotonic() < deadline:
        if not connection.receive(RECEIVE_BYTES):
            return
