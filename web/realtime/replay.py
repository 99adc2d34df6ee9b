"""What a newcomer missed: in pieces that a socket can take, and not without its consequences."""

from collections.abc import Iterable, Iterator

from shared.realtime import effects
from web.realtime.connection import Connection
from web.realtime.topic import Line

PIECE_BYTES = 128 * 1024  # of a replay, in one write; together with the room that is asked for less than an outbox


def heed(connection: Connection, lines: Iterable[Line], head: int) -> None:
    """Close a connection that is told, among what it missed, of the end of its right to be here.

    When the stream stood at `head` the right was looked at; what happened before is history.
    """
    for line in lines:
        effect = effects.parse(line.effect) if line.effect and line.seq > head else None
        if effect is not None and effect.ends(connection.participant_id):
            connection.close(effect.code, "this ended while you were away")


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
