"""Judges a history against the ledger. Pure: records and rows in, defects out.

What is acknowledged happened, exactly once, and everybody entitled heard it exactly once and in order. What was refused
did not happen. What nobody knows happened once or not at all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.history import Record


@dataclass(frozen=True, slots=True)
class Row:
    """An event as the ledger has it; `key` when it is the effect of an invoke of a client."""

    stream: str
    seq: int
    key: str | None = None


@dataclass(slots=True)
class Verdict:
    """Defects by kind, each as a sentence, and how much was looked at."""

    lost: list[str] = field(default_factory=list)  # in the ledger, and somebody entitled did not hear it
    duplicated: list[str] = field(default_factory=list)  # heard twice by one client
    misordered: list[str] = field(default_factory=list)  # heard after a later one (I23)
    phantom: list[str] = field(default_factory=list)  # heard, and the ledger says something else
    holes: list[str] = field(default_factory=list)  # a number of a stream that does not exist (I1)
    false_acks: list[str] = field(default_factory=list)  # acknowledged, and not in the ledger there
    doubled: list[str] = field(default_factory=list)  # one key, two effects
    zombies: list[str] = field(default_factory=list)  # refused, and in the ledger
    leaks: list[str] = field(default_factory=list)  # private, and heard by somebody else
    acked: int = 0
    unknown: int = 0  # sent, and never answered
    retried: int = 0  # answers that did not come at first
    delivered: int = 0
    resyncs: int = 0
    clients: int = 0

    @property
    def defects(self) -> list[str]:
        """Return all defects."""
        kinds = ("lost", "duplicated", "misordered", "phantom", "holes", "false_acks", "doubled", "zombies", "leaks")
        return [f"{kind}: {each}" for kind in kinds for each in getattr(self, kind)]


def check(history: Iterable[Record], ledger: Sequence[Row], *, all_heard: bool = True) -> Verdict:
    """Judge. `all_heard` says that everybody was given the time to hear everything before the history ends.

    `ledger` holds whole streams: every stream that occurs in the history, from its first number to its last.
    """
    records = sorted(history, key=lambda record: record.at)
    verdict = Verdict()
    rows = {(row.stream, row.seq): row for row in ledger}
    heads = _heads(ledger)
    _check_streams(ledger, verdict)
    _check_effects(records, ledger, rows, verdict)
    _check_hearing(records, rows, heads if all_heard else None, verdict)
    _check_privacy(records, verdict)
    return verdict


def _heads(ledger: Iterable[Row]) -> dict[str, int]:
    heads: dict[str, int] = {}
    for row in ledger:
        heads[row.stream] = max(heads.get(row.stream, 0), row.seq)
    return heads


def _check_streams(ledger: Iterable[Row], verdict: Verdict) -> None:
    numbers: dict[str, Counter[int]] = defaultdict(Counter)
    for row in ledger:
        numbers[row.stream][row.seq] += 1
    for stream, seqs in numbers.items():
        verdict.holes.extend(f"{stream} has no {n}" for n in range(1, max(seqs) + 1) if not seqs[n])
        verdict.holes.extend(f"{stream} has {n} {times} times" for n, times in seqs.items() if times > 1)


def _check_effects(
    records: Sequence[Record], ledger: Iterable[Row], rows: Mapping[tuple[str, int], Row], verdict: Verdict
) -> None:
    effects: dict[str, list[Row]] = defaultdict(list)
    for row in ledger:
        if row.key is not None:
            effects[row.key].append(row)
    for key, of_key in effects.items():
        for stream, times in Counter(row.stream for row in of_key).items():
            if times > 1:
                verdict.doubled.append(f"{key} happened {times} times in {stream}")
    invoked = {r.key for r in records if r.kind == "invoke"}
    answered: set[str | None] = set()
    for record in records:
        if record.kind == "ok":
            answered.add(record.key)
            there = rows.get((record.stream or "", record.seq or 0))
            if there is None or there.key != record.key:
                verdict.false_acks.append(f"{record.key} as {record.stream} {record.seq}, which is {there}")
        elif record.kind == "fail":
            answered.add(record.key)
            if record.key in effects:
                verdict.zombies.append(f"{record.key} was refused with {record.detail}")
        elif record.kind == "unknown":
            verdict.retried += 1
    verdict.acked = len({r.key for r in records if r.kind == "ok"})
    verdict.unknown = len(invoked - answered)


@dataclass(slots=True)
class _Ear:
    """How far one client has heard one stream."""

    last: int
    heard: set[int]


def _check_hearing(
    records: Iterable[Record],
    rows: Mapping[tuple[str, int], Row],
    heads: Mapping[str, int] | None,
    verdict: Verdict,
) -> None:
    ears: dict[tuple[str, str], _Ear] = {}
    clients = set()
    for record in records:
        if record.kind not in ("start", "recv") or record.stream is None or record.seq is None:
            continue
        clients.add(record.who)
        place = (record.who, record.stream)
        where = f"{record.who}: {record.stream} {record.seq}"
        if record.kind == "start":
            _start(ears, place, record, verdict)
            continue
        verdict.delivered += 1
        row = rows.get((record.stream, record.seq))
        if row is None or row.key != record.key:
            verdict.phantom.append(f"{where} said {record.key}, the ledger says {row}")
        ear = ears.setdefault(place, _Ear(record.seq - 1, set()))
        if record.seq in ear.heard:
            verdict.duplicated.append(where)
        elif record.seq <= ear.last:
            verdict.misordered.append(f"{where} after {ear.last}")
        else:
            verdict.lost.extend(f"{record.who}: {record.stream} {n}" for n in range(ear.last + 1, record.seq))
        ear.heard.add(record.seq)
        ear.last = max(ear.last, record.seq)
    for (who, stream), ear in ears.items():
        if heads is not None:
            verdict.lost.extend(f"{who}: {stream} {n}" for n in range(ear.last + 1, heads.get(stream, 0) + 1))
    verdict.clients = len(clients)


def _start(ears: dict[tuple[str, str], _Ear], place: tuple[str, str], record: Record, verdict: Verdict) -> None:
    assert record.seq is not None
    if record.detail == "resync":
        verdict.resyncs += 1
    known = ears.get(place)
    if known is None:
        ears[place] = _Ear(record.seq, set())
    else:  # what lies between is in the snapshot
        known.last = max(known.last, record.seq)


def _check_privacy(records: Iterable[Record], verdict: Verdict) -> None:
    private = {r.key: set(r.to) for r in records if r.kind == "invoke" and r.to is not None}
    for record in records:
        if record.kind == "recv" and record.who not in private.get(record.key, {record.who}):
            verdict.leaks.append(f"{record.who} heard {record.key}")


# --- delays


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds, in order."""

    seconds: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return a percentile, 0.0 when there is nothing: `at(0.99)`."""
        if not self.seconds:
            return 0.0
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    @property
    def p50(self) -> float:
        """Return the median."""
        return self.at(0.5)

    @property
    def p99(self) -> float:
        """Return the 99th percentile."""
        return self.at(0.99)

    @property
    def longest(self) -> float:
        """Return the maximum."""
        return self.seconds[-1] if self.seconds else 0.0


def delays(history: Iterable[Record], since: float = 0.0, until: float = float("inf")) -> Delays:
    """Return how long after an acknowledgement each client heard of it, for what was acknowledged in a window."""
    records = list(history)
    acked = {r.key: r.at for r in records if r.kind == "ok" and since <= r.at < until}
    heard = (r.at - acked[r.key] for r in records if r.kind == "recv" and r.key in acked)
    return Delays(tuple(sorted(max(0.0, each) for each in heard)))


def answers(history: Iterable[Record], since: float = 0.0, until: float = float("inf")) -> Delays:
    """Return how long each acknowledgement took from its first invoke, for what was begun in a window."""
    records = list(history)
    begun = {r.key: r.at for r in records if r.kind == "invoke" and since <= r.at < until}
    return Delays(tuple(sorted(r.at - begun[r.key] for r in records if r.kind == "ok" and r.key in begun)))
