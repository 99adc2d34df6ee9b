"""What a newcomer missed, in pieces that a socket can take."""

from collections.abc import Iterable, Iterator

from web.realtime.topic import Line

PIECE_BYTES = 128 * 1024  # of a replay, in one write; together with the room that is asked for less than an outbox


def size_of(lines: Iterable[Line]) -> int:
    """Return how many bytes the frames have together."""
    return sum(len(line.frame) for line in lines)


def pieces_of(lines: Iterable[Line]) -> Iterator[bytes]:
    """Join frames to pieces of PIECE_BYTES, or of one frame where that is larger."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line.frame) > PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line.frame)
        size += len(line.frame)
    if piece:
        yield b"".join(piece)
