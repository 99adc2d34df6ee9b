"""What arrives on one connection, and how much patience is left with its sender."""

import time

from shared.realtime import close_codes
from shared.realtime.envelope import direct_frame
from web.http.limits import too_many
from web.realtime import dispatch
from web.realtime.buckets import TokenBucket
from web.realtime.committer import Committer
from web.realtime.connection import Connection
from web.realtime.frame_types import Sender
from web.realtime.frames import CLOSE, PING, TEXT, Message, encode_pong, encode_text

MALFORMED_LIMIT = 3
FLOOD_LIMIT = 200  # refused frames in a row after which a flooder is cut off


class Inbound:
    """Takes the messages of one connection, in order."""

    def __init__(self, committer: Committer, connection: Connection, person: Sender) -> None:
        self._committer = committer
        self._runtime = runtime = committer.runtime
        self._connection = connection
        self._person = person
        self._bucket = TokenBucket(runtime.settings.ratelimit_websocket, 60.0)
        self._limits_are_on = runtime.settings.ratelimit_enabled
        self._malformed = 0
        self._refused = 0

    def take(self, message: Message) -> bool:
        """Handle one message. False when the connection is over."""
        connection = self._connection
        if message.opcode == CLOSE:
            connection.has_said_goodbye = True
            connection.close(close_codes.NORMAL)
            return False
        if connection.closing_since is not None:
            return True  # our close frame is out; only the peer's is awaited
        if self._limits_are_on and not self._bucket.take():
            return self._refuse(message)
        self._refused = 0
        if message.opcode == PING:
            connection.write(encode_pong(message.payload))
            return True
        return message.opcode != TEXT or self._dispatch(message.payload)

    def _refuse(self, message: Message) -> bool:
        self._refused += 1
        if self._refused > FLOOD_LIMIT:
            self._connection.close(close_codes.TOO_FAST_OR_SLOW, "you send too fast")
            return False
        if message.opcode == TEXT:
            settings = self._runtime.settings
            refusal = too_many(settings.ratelimit_websocket, 60, time.time() + self._bucket.seconds_to_next)
            self._connection.write(encode_text(dispatch.error(None, refusal)))
        return True

    def _dispatch(self, payload: bytes) -> bool:
        time.sleep(0)  # one read may bring hundreds of frames; others get their turn between them
        outcome = dispatch.dispatch(self._committer, self._person, payload)
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
