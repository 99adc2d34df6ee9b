"""The gateway: a WebSocket's life, from the upgrade to the last byte (contract 11)."""

import logging
import threading
import time
from typing import Any

from flask import Blueprint, Flask, g
from flask_sock import Sock

from shared.core.errors import ServiceUnavailable
from shared.core.ids import new_id
from shared.core.metrics import CLOSED, FANOUT_SECONDS
from shared.core.streams import wire_name
from shared.identity.errors import TokenRevoked
from shared.meetings.errors import MeetingEnded, MeetingNotFound
from shared.participants.errors import NotInside
from shared.realtime import close_codes
from shared.realtime.envelope import Wakeup, direct_frame
from shared.runtime import Runtime
from web.http.refusals import Refusals
from web.realtime import handshake
from web.realtime.attendance import Attendance, Entry, RightsChanged
from web.realtime.committer import Committer
from web.realtime.connection import Connection
from web.realtime.frames import FrameError, FrameReader, encode_text
from web.realtime.heartbeat import Heartbeat
from web.realtime.hub import Hub
from web.realtime.inbound import Inbound
from web.realtime.reception import Handshake, Reception, welcome_of
from web.realtime.recovery import Recovery
from web.realtime.subscriber import Subscribers
from web.realtime.tuner import Tuner

log = logging.getLogger(__name__)

RECEIVE_BYTES = 16_384

blueprint = Blueprint("realtime", __name__)
sock = Sock()


class Realtime:
    """The realtime engine of one process: built with the application, started by its first connection, after fork."""

    def __init__(self, runtime: Runtime, refusals: Refusals) -> None:
        self.runtime = runtime
        self.hub = Hub(self._on_meeting, self._on_new_stream)
        self.recovery = Recovery(runtime, self.hub)
        self.tuner = Tuner(runtime, self.hub, self.recovery)
        self.subscriber = Subscribers(runtime.settings.wakeup_servers, self._on_wakeups, self._on_order, self._on_gap)
        self.heartbeat = Heartbeat(runtime, self.hub, self.recovery, self.subscriber)
        self.attendance = Attendance(runtime, self.hub)
        self.reception = Reception(runtime)
        self.committer = Committer(runtime, refusals)
        self._starting = threading.Lock()
        self._is_running = False

    def start(self) -> None:
        """Enter the process and start its threads, once. Raises ServiceUnavailable when the database is away."""
        with self._starting:
            if self._is_running:
                return
            self.attendance.enter()
            for run in (
                self.subscriber.run,
                self.heartbeat.watch,
                self.attendance.keep_lease,
                self.attendance.see_off,
                self.heartbeat.follow_ledger,
            ):
                threading.Thread(target=run, name=f"realtime-{run.__name__}", daemon=True).start()
            self._is_running = True

    def _on_meeting(self, meeting_id: str, is_here: bool) -> None:
        self.subscriber.follow(meeting_id, is_here)

    def _on_new_stream(self, connection: Connection, key: str, seq: int) -> None:
        self.tuner.add(connection, key, seq)

    def _on_wakeups(self, wakeups: list[Wakeup]) -> None:
        torn = self.hub.deliver(wakeups)
        if sent_at := wakeups[0].sent_at:
            FANOUT_SECONDS.observe(max(0.0, time.time() - sent_at))
        if torn:
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


def install(app: Flask, runtime: Runtime, refusals: Refusals) -> Realtime:
    """Give an application its realtime engine and its WebSocket route."""
    engine = Realtime(runtime, refusals)
    app.extensions["parley-realtime"] = engine
    app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": _NoThread}
    handshake.install(app, engine.hub, engine.reception)
    app.register_blueprint(blueprint)
    return engine


@sock.route("/ws/meetings/<meeting_id>", bp=blueprint, endpoint="meeting_socket")
def meeting_socket(ws: Any, meeting_id: str) -> None:
    """Serve a connection whose handshake was examined and accepted."""
    from flask import current_app

    engine: Realtime = current_app.extensions["parley-realtime"]
    found: Handshake = g.pop("handshake")
    ws.connected = False  # flask-sock must not write to the socket when we are done
    ws.ws = None  # wsproto's state machine: of no use from here on, and 7 kB for each idle socket
    connection = Connection(
        new_id(),
        meeting_id,
        found.participant_id,
        found.actor,
        ws.sock,
        address=found.address,
        expires_at=found.expires_at,
    )
    try:
        if _is_let_in(engine, connection, found):
            del found
            _listen(engine, connection)
    except TokenRevoked:
        connection.close(close_codes.TOKEN_ENDED, "token revoked")
    except MeetingEnded:
        connection.close(close_codes.MEETING_ENDED, "the meeting has ended")
    except NotInside:
        connection.close(close_codes.NORMAL, "you are out")
    except RightsChanged:
        connection.close(close_codes.GOING_AWAY, "what you may hear has changed; come back")
    except MeetingNotFound:
        connection.close(close_codes.REMOVED, "you are out")
    except ServiceUnavailable:
        connection.close(close_codes.INTERNAL, "try again")
    except Exception:
        log.exception("socket_failed", extra={"connection_id": connection.id})
        connection.close(close_codes.INTERNAL, "an error of ours; come back with since")
    finally:
        _end(engine, connection)


def _is_let_in(engine: Realtime, connection: Connection, found: Handshake) -> bool:
    """Register the connection, here and in the database, and let it hear its streams. False when we are going away."""
    engine.start()
    if not engine.hub.add(connection):
        connection.close(close_codes.GOING_AWAY, "restarting; come back with since")
        return False
    renewals = connection.sender.renewals
    engine.hub.expect(connection.meeting_id, found.keys)
    try:
        entry = engine.attendance.opened(connection, found.keys)
        _welcome(engine.runtime, connection, found, entry)
        for key, head in entry.heads.items():
            engine.recovery.subscribe(connection, key, found.resumed.get(key, head), head)
        engine.tuner.take_back(connection, renewals)
    finally:
        engine.hub.release(found.keys)
    return True


def _welcome(runtime: Runtime, connection: Connection, found: Handshake, entry: Entry) -> None:
    now = runtime.now()
    cursors = {wire_name(key): seq for key, seq in entry.heads.items()}
    data = welcome_of(runtime, found, connection.id, entry.participant, cursors)
    connection.write(encode_text(direct_frame("welcome", connection.meeting_id, data, now)))
    if found.needs_resync:
        connection.write(encode_text(direct_frame("resync", connection.meeting_id, {"cursors": cursors}, now)))


def _listen(engine: Realtime, connection: Connection) -> None:
    reader = FrameReader()
    inbound = Inbound(engine.committer, connection, connection.sender)
    while data := connection.receive(RECEIVE_BYTES):
        broken: FrameError | None = None
        try:
            messages = reader.feed(data)
        except FrameError as violation:
            messages, broken = violation.messages, violation
        if not inbound.take(messages):
            return
        if broken is not None:
            connection.close(broken.close_code, broken.reason)
            return


def _end(engine: Realtime, connection: Connection) -> None:
    """Forget a connection, here and in the database."""
    connection.linger()
    engine.hub.remove(connection)
    if connection.close_code is not None:
        CLOSED.labels(connection.close_code).inc()
    if not engine.hub.is_draining:  # else the whole process is signed off in one statement, see web.realtime.drain
        engine.attendance.closed(connection)
