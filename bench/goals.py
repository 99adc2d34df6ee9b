"""The goals: what is measured for each, how the figure is made from it, and what it must be.

Costs are CPU seconds of the server for a million deliveries. Other work on the machine makes a run slower and changes
that figure little, and a comparison inside one round less still: so goals are such ratios wherever they can be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.figures import Figures, median_of, ratio
from bench.workloads import CHAT, Workload

# workload -> contestant -> round
Results = Mapping[str, Mapping[str, Sequence[Figures | None]]]

PARLEY, FLOOR = "Parley", "floor"
SOCKETIO, FASTAPI, CHANNELS, FLASK_SOCK = "Flask-SocketIO", "FastAPI", "Channels", "flask-sock"
COST = "cpu_per_million"
HOT_ROOM = "hot room"


@dataclass(frozen=True, slots=True)
class Race:
    """Runs that are compared: all of them once in each round, in this order."""

    goals: frozenset[str]
    runs: tuple[tuple[Workload, str], ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the report. `limit` is None for a line that only informs."""

    id: str
    what: str
    figure: Callable[[Results], float | None]
    unit: str
    limit: float | None = None
    at_most: bool = True

    def is_met(self, results: Results) -> bool | None:
        """Tell whether the goal was reached; None when it was not measured or has no limit."""
        value = self.figure(results)
        if value is None or self.limit is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


def cheaper(
    id_: str, what: str, workload: Workload, than: str, at_least: float | None, *, with_: Workload | None = None
) -> Goal:
    """Return the goal that a delivery costs `than` so many times what it costs the product.

    `with_` is the product's own workload where it is another one.
    """
    ours = (with_ or workload).name
    return Goal(
        id_,
        f"{what}: {than} / Parley",
        lambda results: ratio(_rounds(results, workload.name, than), _rounds(results, ours, PARLEY), COST),
        " x",
        at_least,
        at_most=False,
    )


def own(
    id_: str,
    what: str,
    workload: str,
    name: str,
    unit: str,
    limit: float | None,
    *,
    of: str = PARLEY,
    at_most: bool = True,
) -> Goal:
    """Return a goal for the median of one figure."""
    return Goal(id_, what, lambda results: median_of(_known(results, workload, of), name), unit, limit, at_most)


def lost(id_: str, what: str, workload: Workload) -> Goal:
    """Return the goal that no message was lost in any round."""

    def most(results: Results) -> float | None:
        return max((figures["missing"] for figures in _known(results, workload.name, PARLEY)), default=None)

    return Goal(id_, f"{what}: deliveries lost", most, "", 0)


def _rounds(results: Results, workload: str, contestant: str) -> Sequence[Figures | None]:
    return results.get(workload, {}).get(contestant, ())


def _known(results: Results, workload: str, contestant: str) -> list[Figures]:
    return [figures for figures in _rounds(results, workload, contestant) if figures is not None]


# --- the workloads

FAN = Workload(name="fan-out", rooms=1, size=1000, window=8)
FAN_CHAT = replace(FAN, name="fan-out of chat", kind=CHAT)
LARGE = Workload(name="large fan-out", rooms=1, size=5000, window=4)
SMALL = Workload(name="small rooms", rooms=500, size=10, window=1)
STEADY = Workload(name="steady 10/s", rooms=100, size=50, rate=10)
BURST = Workload(name="burst", rooms=100, size=50, window=4)
DEFLATE = replace(FAN, name="deflate offered", deflate=True)
# 60 a second stay below the product's own limit for 20 s; the kernel's buffers of a socket that never reads are full
# after a few, and the product must have given it up before the end.
HOSTILE = Workload(
    name="slow and flooding",
    rooms=1,
    size=200,
    rate=60,
    slow=10,
    flood=True,
    limits=True,
    seconds=15,
)
HANDSHAKES = Workload(name="handshakes", rooms=100, size=20, handshakes=True, seconds=5)
QUIET = Workload(name="steady 2/s", rooms=100, size=50, rate=2)
BESIDE = replace(QUIET, name="REST loaded", joins=True)
DURABLE = Workload(name="durable chat", rooms=8, size=50, rate=25, kind=CHAT, seconds=8)
# Messages of a hot room come from many people.
HOT = Workload(name=HOT_ROOM, rooms=1, size=50, rate=50, kind=CHAT, senders=20, seconds=4, warm=1)
HOT_RATES = (50, 75, 100, 125, 150, 175, 200, 250, 300, 400, 500)
HOT_ACK_MS = 100.0


def races(*, quick: bool) -> list[Race]:
    """Return what is run, in order."""
    if quick:
        small, steady = _quick(SMALL, rooms=100), _quick(STEADY, rooms=20)
        return [
            _race("G1 G2", (FAN, FLOOR), (FAN, PARLEY), (FAN, SOCKETIO), (FAN, FASTAPI), quick=True),
            _race("G3", (small, FLOOR), (small, PARLEY), (small, SOCKETIO), (small, FASTAPI)),
            _race("G4", (steady, FLOOR), (steady, PARLEY)),
            _race("G11", (_quick(DURABLE), PARLEY)),
        ]
    return [
        _race(
            "G1 G2",
            *((FAN, FLOOR), (FAN, PARLEY), (FAN_CHAT, PARLEY), (FAN, SOCKETIO), (FAN, FASTAPI), (FAN, CHANNELS)),
        ),
        _race("G2 G7", (LARGE, FLOOR), (LARGE, PARLEY)),
        _race("G3", (SMALL, FLOOR), (SMALL, PARLEY), (SMALL, SOCKETIO), (SMALL, FASTAPI)),
        _race("G4", (STEADY, FLOOR), (STEADY, PARLEY), (BURST, FLOOR), (BURST, PARLEY)),
        _race("G5", (DEFLATE, PARLEY), (DEFLATE, FLASK_SOCK), (DEFLATE, FASTAPI)),
        _race("G6", (HOSTILE, PARLEY)),
        _race("G7", (HANDSHAKES, PARLEY), (HANDSHAKES, SOCKETIO)),
        _race("G8", (QUIET, PARLEY), (BESIDE, PARLEY)),
        _race("G11", (DURABLE, PARLEY)),
    ]


def _race(goals: str, *runs: tuple[Workload, str], quick: bool = False) -> Race:
    chosen = tuple((_quick(workload), name) for workload, name in runs) if quick else runs
    return Race(frozenset(goals.split()), chosen)


def _quick(workload: Workload, *, rooms: int = 0) -> Workload:
    return replace(workload, rooms=rooms or workload.rooms, seconds=3, warm=1)


GOALS = (
    cheaper("G1", "fan-out to 1000", FAN, SOCKETIO, 2.0),
    cheaper("G1", "fan-out to 1000", FAN, FASTAPI, 1.5),
    cheaper("G1", "fan-out to 1000", FAN, CHANNELS, 15.0),
    cheaper("G1", "fan-out to 1000, durable chat", FAN, SOCKETIO, None, with_=FAN_CHAT),
    cheaper("G1", "fan-out to 1000, durable chat", FAN, FASTAPI, None, with_=FAN_CHAT),
    cheaper("G2", "fan-out to 1000", FAN, FLOOR, 0.75),
    cheaper("G2", "fan-out to 5000", LARGE, FLOOR, 0.90),
    cheaper("G3", "rooms of 10", SMALL, SOCKETIO, 12.0),
    cheaper("G3", "rooms of 10", SMALL, FASTAPI, 3.5),
    cheaper("G3", "rooms of 10", SMALL, FLOOR, 0.6),
    lost("G4", "rooms of 50, 10/s each", STEADY),
    own("G4", "rooms of 50, 10/s each: p99", STEADY.name, "latency_p99_ms", " ms", 12.0),
    own("G4", "rooms of 50, 10/s each: p99 of the floor", STEADY.name, "latency_p99_ms", " ms", None, of=FLOOR),
    cheaper("G4", "rooms of 50, burst", BURST, FLOOR, 2.0),
    cheaper("G5", "deflate offered", DEFLATE, FLASK_SOCK, 3.0),
    cheaper("G5", "deflate offered", DEFLATE, FASTAPI, 3.0),
    own("G6", "slow readers and a flooder: longest wait", HOSTILE.name, "latency_max_ms", " ms", 250.0),
    lost("G6", "slow readers and a flooder", HOSTILE),
    own("G6", "slow readers and a flooder: memory", HOSTILE.name, "memory_growth_mb", " MB", 50.0),
    own("G7", "an idle socket", LARGE.name, "kb_per_socket", " kB", 32.0),
    Goal(
        "G7",
        "handshakes: Parley / Flask-SocketIO",
        lambda results: ratio(
            _rounds(results, HANDSHAKES.name, PARLEY),
            _rounds(results, HANDSHAKES.name, SOCKETIO),
            "handshakes_per_second",
        ),
        " x",
        2.0,
        at_most=False,
    ),
    own("G7", "handshakes: Parley", HANDSHAKES.name, "handshakes_per_second", "/s", None),
    Goal(
        "G8",
        "p99 while REST is loaded / unloaded",
        lambda results: ratio(
            _rounds(results, BESIDE.name, PARLEY), _rounds(results, QUIET.name, PARLEY), "latency_p99_ms"
        ),
        " x",
        2.0,
    ),
    own("G8", "p99 while REST is loaded", BESIDE.name, "latency_p99_ms", " ms", None),
    own("G8", "joins meanwhile", BESIDE.name, "joins_per_second", "/s", None),
    own("G11", "durable chat, 200/s: ack p99", DURABLE.name, "ack_p99_ms", " ms", 60.0),
    own("G11", "durable chat, 200/s: delivery p99", DURABLE.name, "latency_p99_ms", " ms", 80.0),
    lost("G11", "durable chat, 200/s", DURABLE),
    own("G11", "one hot room: ack p99 <= 100 ms up to", HOT_ROOM, "rate", "/s", 150.0, at_most=False),
)
