"""What arrives on one connection, and how much patience is left with its sender."""

import time
from collections.abc import Sequence

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

    def take(self, messages: Sequence[Message]) -> bool:
        """Handle what one read has brought. False when the connection is over.

        Text frames in a row are dispatched together; everything is answered in the order in which it came.
        """
        texts: list[bytes] = []
        for message in messages:
            if message.opcode == TEXT and self._connection.closing_since is None and self._has_credit():
                texts.append(message.payload)
            elif not (self._dispatch(texts) and self._take(message)):
                return False
            else:
                texts = []
        return self._dispatch(texts)

    def _has_credit(self) -> bool:
        """Tell whether one more message is allowed; one that is refused costs nothing."""
        return not self._limits_are_on or self._bucket.take()

    def _take(self, message: Message) -> bool:
        """Handle a message that is not to be dispatched."""
        connection = self._connection
        if message.opcode == CLOSE:
            connection.has_said_goodbye = True
            connection.close(close_codes.NORMAL)
            return False
        if connection.closing_since is not None:
            return True  # our close frame is out; only the peer's is awaited
        if message.opcode == TEXT or not self._has_credit():
            return self._refuse(message)
        self._refused = 0
        if message.opcode == PING:
            connection.write(encode_pong(message.payload))
        return True

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

    def _dispatch(self, texts: list[bytes]) -> bool:
        if not texts:
            return True
        self._refused = 0
        answers: list[bytes] = []
        patience = MALFORMED_LIMIT - self._malformed
        for outcome in dispatch.dispatch(self._committer, self._person, texts, patience):
            if outcome.is_ping:
                now = self._runtime.now()
                answers.append(encode_text(direct_frame("pong", self._connection.meeting_id, {}, now)))
            if outcome.frame is not None:
                answers.append(encode_text(outcome.frame))
            if outcome.is_malformed:
                self._malformed += 1
        if answers:
            self._connection.write(b"".join(answers))
        if self._malformed >= MALFORMED_LIMIT:
            self._connection.close(close_codes.MALFORMED, "three frames were not valid JSON")
            return False
        return True
