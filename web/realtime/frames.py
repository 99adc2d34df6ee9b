"""WebSocket frames as a server reads and writes them (RFC 6455). Pure: bytes in, messages and bytes out.

No extension is ever negotiated (contract 11), so a reserved bit is an error, and what a client can make us hold is one
message of the largest size and one control frame. A text frame of 300 bytes costs 2 us here and 10 us in wsproto, which
the tests use as the oracle.
"""

from struct import Struct
from typing import NamedTuple

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

MAX_MESSAGE_BYTES = 65_536
MAX_FRAGMENTS = 1024  # of one message; clients that stream a message send pieces of kilobytes, not of bytes
MAX_CONTROL_BYTES = 125

NO_STATUS = 1005  # stands for a close frame without a code; never on the wire
PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009

# RFC 6455 section 7.4.1, and 1012 to 1014 from the IANA registry it founded. 1004, 1005, 1006 and 1015 are never sent.
_PROTOCOL_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_CONTROL = 0x08
_SIXTEEN_BITS = 126
_SIXTY_FOUR_BITS = 127
_KEY_BYTES = 4

_header16 = Struct("!BBH").pack
_header64 = Struct("!BBQ").pack


class FrameError(Exception):
    """The peer broke a rule; the connection must be closed with `close_code`.

    `messages` are those that were complete before it, in the same `feed`.
    """

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(f"{close_code} {reason}")
        self.close_code = close_code
        self.reason = reason
        self.messages: list[Message] = []


class Message(NamedTuple):
    """A whole message: TEXT, whose payload is valid UTF-8, or PING, PONG or CLOSE.

    `code` and `reason` belong to CLOSE; a close frame without a code has NO_STATUS.
    """

    opcode: int
    payload: bytes
    code: int = NO_STATUS
    reason: str = ""


def encode_text(payload: bytes) -> bytes:
    """Return a text message, `payload` being UTF-8, as one frame."""
    size = len(payload)
    if size < _SIXTEEN_BITS:
        return bytes((_FIN | TEXT, size)) + payload
    if size < 0x10000:
        return _header16(_FIN | TEXT, _SIXTEEN_BITS, size) + payload
    return _header64(_FIN | TEXT, _SIXTY_FOUR_BITS, size) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason of more than 123 bytes is cut between two characters."""
    said = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return _encode_control(CLOSE, code.to_bytes(2, "big") + said)


def encode_ping(payload: bytes = b"") -> bytes:
    """Return a ping frame. Raises ValueError over 125 bytes."""
    return _encode_control(PING, payload)


def encode_pong(payload: bytes = b"") -> bytes:
    """Return a pong frame. Raises ValueError over 125 bytes."""
    return _encode_control(PONG, payload)


def _encode_control(opcode: int, payload: bytes) -> bytes:
    if len(payload) > MAX_CONTROL_BYTES:
        raise ValueError(f"a control frame carries at most {MAX_CONTROL_BYTES} bytes")
    return bytes((_FIN | opcode, len(payload))) + payload


class FrameReader:
    """Turns the bytes of one client into messages, however they are cut into pieces.

    Holds at most `max_message_bytes` and one header, plus one control frame between fragments. Not thread-safe.
    """

    __slots__ = ("_fragments", "_held", "_is_over", "_largest", "_needed", "_started")

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._largest = max_message_bytes
        self._held = bytearray()  # the beginning of a frame
        self._needed = 0  # how many bytes the frame in _held must have before it is worth another look
        self._started: bytearray | None = None  # what there is of a fragmented message
        self._fragments = 0
        self._is_over = False

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes, in order. After a close frame or an error, always none.

        Raises FrameError at the first violation, as soon as a header gives it away.
        """
        messages: list[Message] = []
        if self._is_over:
            return messages
        position, end = 0, len(data)
        try:
            while position < end:
                if self._held:
                    position = self._top_up(data, position)
                    if len(self._held) < self._needed:
                        break
                    frame, self._held = self._held, bytearray()
                    message = self._open(frame, 0, self._needed)
                else:
                    size = self._measure(data, position, end - position)
                    if size > end - position:
                        self._held += data[position:]
                        self._needed = size
                        break
                    message = self._open(data, position, size)
                    position += size
                if message is not None:
                    messages.append(message)
                    if message.opcode == CLOSE:
                        self._stop()
                        break
        except FrameError as broken:
            self._stop()
            broken.messages = messages
            raise
        return messages

    def _top_up(self, data: bytes, position: int) -> int:
        """Move to `_held` what it lacks to be a frame, and no more. Return where in `data` that ended."""
        held, end = self._held, len(data)
        while True:
            wanted = self._needed - len(held)
            held += data[position : position + wanted]
            position += wanted
            if position > end:
                return end
            size = self._measure(held, 0, len(held))
            if size == self._needed:
                return position
            self._needed = size

    def _measure(self, data: bytes | bytearray, start: int, available: int) -> int:
        """Return how many bytes the frame at `start` has; or, while that is not known, how many will tell more.

        The answer is larger than `available` unless the frame is complete. Raises FrameError if the header is wrong.
        """
        if available < 2:
            return 2
        first, second = data[start], data[start + 1]
        if first != _FIN | TEXT or second < _MASKED or self._started is not None:
            self._judge(first, second)
        size = second & 0x7F
        if size < _SIXTEEN_BITS:
            header = 2
        elif size == _SIXTEEN_BITS:
            header = 4
            if available < header:
                return header
            size = data[start + 2] << 8 | data[start + 3]
            if size < _SIXTEEN_BITS:
                raise FrameError(PROTOCOL_ERROR, "length not in its shortest form")
        else:
            header = 10
            if available < header:
                return header
            size = int.from_bytes(data[start + 2 : start + 10], "big")
            if size >> 63:
                raise FrameError(PROTOCOL_ERROR, "length over 63 bits")
            if size < 0x10000:
                raise FrameError(PROTOCOL_ERROR, "length not in its shortest form")
        if not first & _CONTROL:
            whole = size if self._started is None else size + len(self._started)
            if whole > self._largest:
                raise FrameError(TOO_BIG, f"message over {self._largest} bytes")
        return header + _KEY_BYTES + size

    def _judge(self, first: int, second: int) -> None:
        """Raise FrameError if the first two bytes of a frame are not allowed here."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise FrameError(PROTOCOL_ERROR, "reserved bit without an extension")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError(PROTOCOL_ERROR, "unknown opcode")
        if second < _MASKED:
            raise FrameError(PROTOCOL_ERROR, "unmasked frame")
        if opcode & _CONTROL:
            if not first & _FIN:
                raise FrameError(PROTOCOL_ERROR, "fragmented control frame")
            if second & 0x7F > MAX_CONTROL_BYTES:
                raise FrameError(PROTOCOL_ERROR, "control frame over 125 bytes")
        elif opcode == CONTINUATION:
            if self._started is None:
                raise FrameError(PROTOCOL_ERROR, "continuation of nothing")
            if self._fragments >= MAX_FRAGMENTS:
                raise FrameError(POLICY_VIOLATION, f"message in more than {MAX_FRAGMENTS} fragments")
        elif self._started is not None:
            raise FrameError(PROTOCOL_ERROR, "new message inside a fragmented one")
        elif opcode == BINARY:
            raise FrameError(UNSUPPORTED_DATA, "only text is understood")

    def _open(self, data: bytes | bytearray, start: int, size: int) -> Message | None:
        """Return the message that the measured frame at `start` completes, if it does."""
        first, short = data[start], data[start + 1] & 0x7F
        key = start + (2 if short < _SIXTEEN_BITS else 4 if short == _SIXTEEN_BITS else 10)
        payload = _unmask(data[key : key + _KEY_BYTES], data[key + _KEY_BYTES : start + size])
        if first == _FIN | TEXT:
            return _text(payload)
        opcode = first & 0x0F
        if opcode == CLOSE:
            return _close(payload)
        if opcode & _CONTROL:
            return Message(opcode, payload)
        if self._started is None:
            self._started, self._fragments = bytearray(), 0
        self._started += payload
        self._fragments += 1
        if not first & _FIN:
            return None
        whole, self._started = bytes(self._started), None
        return _text(whole)

    def _stop(self) -> None:
        self._is_over = True
        self._held = bytearray()
        self._started = None


def _unmask(key: bytes | bytearray, data: bytes | bytearray) -> bytes:
    # As one long number: the only xor over many bytes at once that pure Python has.
    size = len(data)
    keys = (key * ((size >> 2) + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def _text(payload: bytes) -> Message:
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise FrameError(INVALID_DATA, "text is not UTF-8") from None
    return Message(TEXT, payload)


def _close(payload: bytes) -> Message:
    if not payload:
        return Message(CLOSE, payload)
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR, "half a close code")
    code = int.from_bytes(payload[:2], "big")
    if code not in _PROTOCOL_CLOSE_CODES and not 3000 <= code <= 4999:
        raise FrameError(PROTOCOL_ERROR, "close code not allowed")
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "close reason is not UTF-8") from None
    return Message(CLOSE, payload, code, reason)
