"""Counts of frames, kept as plain numbers and moved to the metrics twice a second: a metric costs more than a frame."""

from collections import Counter

from shared.core.metrics import FRAMES_IN, FRAMES_OUT


class Tally:
    """What went in, by type, and out since the last flush."""

    __slots__ = ("_frames_in", "_frames_out")

    def __init__(self) -> None:
        self._frames_in: Counter[str] = Counter()
        self._frames_out = 0

    def received(self, type_: str) -> None:
        """Count one frame from a client."""
        self._frames_in[type_] += 1

    def delivered(self, count: int) -> None:
        """Count frames to clients."""
        self._frames_out += count

    def flush(self) -> None:
        """Move the counts to the metrics."""
        counted, self._frames_in = self._frames_in, Counter()
        out, self._frames_out = self._frames_out, 0
        for type_, count in counted.items():
            FRAMES_IN.labels(type_).inc(count)
        FRAMES_OUT.inc(out)


TALLY = Tally()
