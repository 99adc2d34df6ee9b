"""What clients saw and did, in the order in which it happened, with monotonic time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["invoke", "ok", "fail", "unknown", "recv", "start", "connect", "refused", "disconnect"]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a history. Streams have their inner keys (`m:…`, `h:…`, `p:…`).

    invoke      `who` begins an effect under `key`; `to` are those who may see it when it is private
    ok          it was acknowledged as `stream`, `seq`
    fail        it was refused with the code `detail`: it must have no effect
    unknown     no answer, or one that says nothing; the same key is sent again
    start       `who` hears `stream` from behind `seq`; `detail` is fresh, or resync when events may be left out
    recv        `who` heard an event; `key` when it is the effect of an invoke
    connect     `detail` says which web process; `seq` is 1 when the server said that nothing was missed
    refused     no upgrade; `detail` is the status and the code
    disconnect  `detail` is the close code
    """

    at: float
    who: str
    kind: Kind
    key: str | None = None
    stream: str | None = None
    seq: int | None = None
    detail: str = ""
    to: frozenset[str] | None = None


@dataclass(slots=True)
class History:
    """Records of all clients of a scenario. Written by one thread."""

    records: list[Record] = field(default_factory=list)

    def note(
        self,
        who: str,
        kind: Kind,
        *,
        key: str | None = None,
        stream: str | None = None,
        seq: int | None = None,
        detail: str = "",
        to: frozenset[str] | None = None,
    ) -> None:
        """Add a record with the time of now."""
        self.records.append(Record(time.monotonic(), who, kind, key, stream, seq, detail, to))

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self.records))

    def count(self, kind: Kind) -> int:
        """Return how many records there are of a kind."""
        return sum(1 for record in self if record.kind == kind)
