"""The frame reader against RFC 6455, with wsproto as the oracle."""

import os
import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from web.realtime.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_FRAGMENTS,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    Message,
    encode_close,
    encode_ping,
    encode_pong,
    encode_text,
)

pytestmark = pytest.mark.once

LARGEST = 65_536


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x9a\x01\xff\x00"
):
    """Return a client frame; `mask` None leaves it unmasked."""
    first, masked, size = fin << 7 | rsv << 4 | opcode, 0 if mask is None else 0x80, len(payload)
    if size < 126:
        header = struct.pack("!BB", first, masked | size)
    elif size < 65_536:
        header = struct.pack("!BBH", first, masked | 126, size)
    else:
        header = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return header + payload
    return header + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def long_header(opcode: int, size: int, *, fin: bool = True) -> bytes:
    """Return a masked header that states `size` in 64 bits."""
    return struct.pack("!BBQ", fin << 7 | opcode, 0xFF, size) + b"\0\0\0\0"


def short_header(opcode: int, size: int) -> bytes:
    """Return a masked header that states `size` in 16 bits."""
    return struct.pack("!BBH", 0x80 | opcode, 0xFE, size) + b"\0\0\0\0"


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def read(pieces: list[bytes], reader: FrameReader | None = None) -> tuple[list[Message], int | None]:
    """Return all messages of a stream that arrives in pieces, and the close code of its error."""
    reader = reader or FrameReader()
    messages: list[Message] = []
    for piece in pieces:
        try:
            messages += reader.feed(piece)
        except FrameError as broken:
            return messages + broken.messages, broken.close_code
    return messages, None


def oracle(stream: bytes) -> tuple[list[tuple[Any, ...]], int | None]:
    """Return what wsproto makes of a stream, in the words of `plain`."""
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(stream)
    found: list[tuple[Any, ...]] = []
    text = ""
    try:
        got: Any
        for got in protocol.received_frames():
            if got.opcode is Opcode.TEXT:
                text += got.payload
                if got.message_finished:
                    found.append((TEXT, text.encode()))
                    text = ""
            elif got.opcode is Opcode.CLOSE:
                found.append((CLOSE, *got.payload))
            else:
                found.append((int(got.opcode), bytes(got.payload)))
    except ParseFailed as broken:
        return found, int(broken.code)
    return found, None


def plain(messages: list[Message]) -> list[tuple[Any, ...]]:
    return [(m.opcode, m.code, m.reason) if m.opcode == CLOSE else (m.opcode, m.payload) for m in messages]


# --- what clients send ----------------------------------------------------------------------------------------------

masks = st.binary(min_size=4, max_size=4)
payloads = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.sampled_from([0, 1, 3, 4, 5, 124, 125, 126, 127, 1000, 65_535, 65_536]).map(lambda size: b"x" * size),
)
controls = st.builds(
    lambda opcode, payload, mask: frame(opcode, payload, mask=mask),
    st.sampled_from([PING, PONG]),
    st.binary(max_size=125),
    masks,
)


@st.composite
def text_messages(draw: st.DrawFn) -> bytes:
    """A text message in one to five frames, with control frames between them."""
    payload = draw(payloads)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    bounds = [0, *cuts, len(payload)]
    parts = [payload[a:b] for a, b in pairwise(bounds)]
    stream = b""
    for i, part in enumerate(parts):
        stream += frame(CONTINUATION if i else TEXT, part, fin=i == len(parts) - 1, mask=draw(masks))
        if i < len(parts) - 1:
            stream += b"".join(draw(st.lists(controls, max_size=2)))
    return stream


closes = st.builds(
    lambda code, reason: frame(CLOSE, close_payload(code, reason.encode()[:120].decode(errors="ignore").encode())),
    st.sampled_from([1000, 1001, 1011, 1012, 3000, 4401, 4999]),
    st.text(max_size=60),
) | st.just(frame(CLOSE))


@st.composite
def valid_streams(draw: st.DrawFn) -> bytes:
    stream = b"".join(draw(st.lists(text_messages() | controls, max_size=6)))
    return stream + draw(st.just(b"") | closes)


VIOLATIONS = {
    "a reserved bit": (frame(TEXT, b"hi", rsv=4), 1002),
    "a reserved bit on a ping": (frame(PING, b"", rsv=1), 1002),
    "an unknown data opcode": (frame(0x3, b"hi"), 1002),
    "an unknown control opcode": (frame(0xB), 1002),
    "an unmasked text": (frame(TEXT, b"hi", mask=None), 1002),
    "an unmasked close": (frame(CLOSE, mask=None), 1002),
    "a fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a close of 126 bytes": (frame(CLOSE, close_payload(1000, b"x" * 124)), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a message inside a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "16 bits for a length of 125": (short_header(TEXT, 125) + b"x" * 125, 1002),
    "64 bits for a length of 65535": (long_header(TEXT, 65_535), 1002),
    "a length of 64 bits": (long_header(TEXT, 1 << 63), 1002),
    "bad UTF-8": (frame(TEXT, b"\xff"), 1007),
    "a surrogate in UTF-8": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "half a character at the end": (frame(TEXT, "é".encode()[:1]), 1007),
    "half a character at the end of the last fragment": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, "é".encode()[:1]),
        1007,
    ),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "a close reason that is not UTF-8": (frame(CLOSE, close_payload(1000, b"\xff")), 1007),
    **{
        f"close code {code}": (frame(CLOSE, close_payload(code)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}
# Ours alone: wsproto takes binary messages, and messages of any size.
LIMITS = {
    "a binary message": (frame(BINARY, b"x"), 1003),
    "a text of 64 KiB and a byte": (frame(TEXT, b"x" * (LARGEST + 1)), 1009),
    "fragments that sum up to more than 64 KiB": (
        frame(TEXT, b"x" * LARGEST, fin=False) + frame(CONTINUATION, b"x", fin=False),
        1009,
    ),
    "a text in very many pieces": (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 100_000, 1008),
    "empty fragments without end": (frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 100_000, 1008),
}
broken_frames = st.sampled_from([bad for bad, _ in [*VIOLATIONS.values(), *list(LIMITS.values())[:3]]])


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_masked_text_frame_is_one_message():
    assert FrameReader().feed(frame(TEXT, b'{"type":"ping"}')) == [Message(TEXT, b'{"type":"ping"}')]


def test_a_payload_is_bytes_also_when_it_arrived_in_pieces():
    messages, _ = read([frame(TEXT, b"hello")[:4], frame(TEXT, b"hello")[4:]])
    assert type(messages[0].payload) is bytes


def test_an_empty_text_is_a_message():
    assert FrameReader().feed(frame(TEXT)) == [Message(TEXT, b"")]


def test_frames_that_arrive_together_are_all_read():
    stream = frame(TEXT, b"one") + frame(PING, b"two") + frame(TEXT, b"three")
    assert FrameReader().feed(stream) == [Message(TEXT, b"one"), Message(PING, b"two"), Message(TEXT, b"three")]


def test_a_ping_between_fragments_comes_before_the_message():
    stream = frame(TEXT, b"he", fin=False) + frame(PING, b"!") + frame(CONTINUATION, b"llo")
    assert FrameReader().feed(stream) == [Message(PING, b"!"), Message(TEXT, b"hello")]


def test_a_character_may_be_cut_by_fragments():
    e = "é".encode()
    assert FrameReader().feed(frame(TEXT, e[:1], fin=False) + frame(CONTINUATION, e[1:])) == [Message(TEXT, e)]


def test_a_close_tells_its_code_and_reason():
    [message] = FrameReader().feed(frame(CLOSE, close_payload(4401, "tschüß".encode())))
    assert (message.code, message.reason) == (4401, "tschüß")


def test_a_close_without_a_code_reads_as_1005():
    [message] = FrameReader().feed(frame(CLOSE))
    assert (message.code, message.reason) == (1005, "")


def test_nothing_is_read_after_a_close():
    reader = FrameReader()
    assert len(reader.feed(frame(CLOSE) + frame(TEXT, b"late") + frame(TEXT, b"bad", mask=None))) == 1
    assert reader.feed(frame(TEXT, b"later")) == []


def test_nothing_is_read_after_an_error():
    reader = FrameReader()
    with pytest.raises(FrameError):
        reader.feed(frame(TEXT, b"bad", mask=None))
    assert reader.feed(frame(TEXT, b"good")) == []


def test_messages_before_a_violation_travel_with_the_error():
    with pytest.raises(FrameError) as broken:
        FrameReader().feed(frame(TEXT, b"good") + frame(BINARY, b"bad"))
    assert broken.value.messages == [Message(TEXT, b"good")]


def test_the_largest_message_passes_whole_and_in_fragments():
    whole = frame(TEXT, b"x" * LARGEST)
    halves = frame(TEXT, b"x" * (LARGEST // 2), fin=False) + frame(CONTINUATION, b"x" * (LARGEST // 2))
    assert [len(m.payload) for m in FrameReader().feed(whole + halves)] == [LARGEST, LARGEST]


def test_the_most_fragments_that_are_allowed_pass():
    stream = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"a", fin=False) * (MAX_FRAGMENTS - 2)
    stream += frame(CONTINUATION, b"a")
    assert [len(m.payload) for m in FrameReader().feed(stream * 2)] == [MAX_FRAGMENTS, MAX_FRAGMENTS]


@pytest.mark.parametrize(
    "head", [long_header(TEXT, LARGEST + 1)[:10], long_header(TEXT, 10**15)[:10], frame(BINARY, b"x" * 900)[:2]]
)
def test_what_is_too_big_or_binary_is_refused_before_its_payload_arrives(head):
    with pytest.raises(FrameError) as broken:
        FrameReader().feed(head)
    assert broken.value.close_code in (1003, 1009)


def test_another_size_can_be_chosen():
    reader = FrameReader(max_message_bytes=10)
    assert len(reader.feed(frame(TEXT, b"x" * 10) + frame(PING, b"x" * 125))) == 2
    with pytest.raises(FrameError) as broken:
        reader.feed(frame(TEXT, b"x" * 11))
    assert broken.value.close_code == 1009


@pytest.mark.parametrize(("stream", "close_code"), (VIOLATIONS | LIMITS).values(), ids=(VIOLATIONS | LIMITS).keys())
def test_a_violation_ends_with_its_close_code(stream, close_code):
    assert read([stream]) == ([], close_code)


@pytest.mark.parametrize(("stream", "close_code"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_wsproto_calls_it_a_violation_too(stream, close_code):
    assert oracle(stream)[1] == close_code


@given(valid_streams())
def test_a_valid_stream_reads_as_wsproto_reads_it(stream):
    messages, close_code = read([stream])
    assert (plain(messages), close_code) == oracle(stream)


@given(valid_streams(), broken_frames, st.lists(st.integers(min_value=0), max_size=12))
def test_any_chunking_gives_the_same_messages_and_the_same_error(stream, bad, cuts):
    stream += bad
    at = sorted({cut % (len(stream) + 1) for cut in cuts})
    pieces = [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]
    assert read(pieces) == read([stream])


@pytest.mark.parametrize(("stream", "close_code"), (VIOLATIONS | LIMITS).values(), ids=(VIOLATIONS | LIMITS).keys())
def test_byte_by_byte_gives_the_same_as_all_at_once(stream, close_code):
    stream = frame(TEXT, b"x" * 300) + frame(PING, b"y") + stream
    assert read([stream[i : i + 1] for i in range(len(stream))]) == read([stream])


@given(st.binary(max_size=300))
def test_garbage_gives_messages_or_a_frame_error_and_nothing_else(stream):
    messages, close_code = read([stream])
    assert close_code in (None, 1002, 1003, 1007, 1008, 1009)
    assert all(m.opcode in (TEXT, PING, PONG, CLOSE) for m in messages)


# --- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        frame(TEXT, b"x" * LARGEST)[:-1],
        frame(TEXT, b"x" * (LARGEST - 1), fin=False) + frame(PING, b"x" * 125)[:-1],
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * (MAX_FRAGMENTS - 1),
    ],
    ids=["an unfinished message", "an unfinished ping in a message", "empty fragments"],
)
@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_a_reader_never_holds_more_than_a_message_and_a_control_frame(stream, step):
    pieces = [stream[i : i + step] for i in range(0, len(stream), step)]
    tracemalloc.start()
    try:
        reader = FrameReader()
        for piece in pieces:
            reader.feed(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # bytearray grows by an eighth more than it needs
    assert held < (LARGEST + 14 + 131) * 9 / 8 + 4096


class Counted(bytes):
    """Bytes that count how many of them are copied out, to see work instead of time."""

    copied = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            Counted.copied += len(found)
        return found


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_the_work_for_a_message_in_pieces_grows_with_its_size_only(step):
    stream = frame(TEXT, b"x" * LARGEST)
    Counted.copied = 0
    messages, _ = read([Counted(stream[i : i + step]) for i in range(0, len(stream), step)])
    assert len(messages[0].payload) == LARGEST
    assert Counted.copied <= len(stream) + 8  # the length in the header is looked at twice


# --- writing --------------------------------------------------------------------------------------------------------


def client_events(data: bytes) -> list[Any]:
    connection = Connection(ConnectionType.CLIENT)
    connection.receive_data(data)
    return list(connection.events())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_an_encoded_text_is_read_back_by_wsproto(size):
    text = "".join(event.data for event in client_events(encode_text(b"x" * size)))
    assert text == "x" * size


def test_encoded_frames_are_final_and_unmasked():
    for data in (encode_text(b"hi"), encode_close(1000, "x"), encode_ping(b"p"), encode_pong(b"p")):
        assert data[0] & 0xF0 == 0x80
        assert data[1] & 0x80 == 0


def test_pings_and_pongs_carry_their_payload():
    events = client_events(encode_ping(b"12") + encode_pong(b"34"))
    assert [bytes(event.payload) for event in events] == [b"12", b"34"]


def test_a_control_payload_over_125_bytes_is_refused():
    for encode in (encode_ping, encode_pong):
        encode(b"x" * 125)
        with pytest.raises(ValueError, match="125"):
            encode(b"x" * 126)


@given(st.sampled_from([1000, 1012, 4401, 4510]), st.text(max_size=200))
def test_a_close_is_read_back_with_as_much_of_its_reason_as_fits(code, reason):
    data = encode_close(code, reason)
    [event] = client_events(data)
    assert len(data) <= 2 + 125
    assert event.code == code
    said = event.reason or ""
    assert reason.startswith(said)
    assert said == reason or len(said.encode()) > 123 - 4


def test_what_is_encoded_for_a_peer_is_not_accepted_from_one():
    with pytest.raises(FrameError, match="unmasked"):
        FrameReader().feed(encode_text(os.urandom(4).hex().encode()))
