"""`python -m bench.plan`: how many processes for so many people (docs/operate/scale.md), from what things cost.

The costs are those of docs/operate/performance.md, measured on one core of that machine; the workload is an assumption.
Both are options: `python -m bench.plan --people 3000 --people-per-meeting 8 --chat-rate 2`.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

FILL = 0.6  # of a core: what comes in bursts needs room, or everybody is late
SIZES = (1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What people do. Rates are of one person, a minute; `rush` of all come within five minutes, on the hour."""

    people_per_meeting: float = 20
    chat_rate: float = 0.5
    signal_rate: float = 2
    reads_per_join: float = 3
    rush: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Milliseconds of CPU, and memory.

    A socket's is that of a second in which nothing happens; `heard` is what an event costs each process that hears it;
    `join` and `database_join` are a REST process' and PostgreSQL's share of a join, and stand for every request and
    every commit, of which few are dearer.
    """

    socket: float = 0.07
    handshake: float = 4.0
    chat: float = 3.6
    signal: float = 0.07
    heard: float = 0.07
    delivery: float = 0.0125
    join: float = 9.0
    database_join: float = 2.4
    socket_kilobytes: float = 31
    process_megabytes: float = 120
    connections_per_process: float = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many people need."""

    people: int
    ws: int
    rest: int
    joins_per_second: float
    deliveries_per_second: float
    messages_per_second: float  # through Redis
    commits_per_second: float
    database_cores: float
    database_connections: int
    ws_gigabytes: float


def plan(people: int, does: Workload, costs: Costs) -> Plan:
    """Return the smallest number of processes, each on a core of its own, that are not too full; one more of each, so
    that one may be missing."""
    joins = does.rush * people / 300
    chat, signals = people * does.chat_rate / 60, people * does.signal_rate / 60
    # A join, and who comes with a socket: two events that everybody inside hears.
    events = chat + signals + 2 * joins
    deliveries = events * does.people_per_meeting

    def load(processes: int) -> float:
        """Return how many cores the sockets need when they are spread over so many processes by chance."""
        hearing = processes * (1 - math.pow(1 - 1 / processes, does.people_per_meeting))
        milliseconds = (
            people * costs.socket
            + joins * costs.handshake
            + chat * costs.chat
            + signals * costs.signal
            + events * hearing * costs.heard
            + deliveries * costs.delivery
        )
        return milliseconds / 1000

    ws = 1 + next(count for count in itertools.count(1) if load(count) <= FILL * count)
    rest = 1 + math.ceil(joins * (1 + does.reads_per_join) * costs.join / 1000 / FILL)
    commits = chat + 3 * joins  # a join, a handshake, a sign-off
    return Plan(
        people=people,
        ws=ws,
        rest=rest,
        joins_per_second=joins,
        deliveries_per_second=deliveries,
        messages_per_second=events,
        commits_per_second=commits,
        database_cores=(commits + joins * does.reads_per_join) * costs.database_join / 1000,
        database_connections=math.ceil((ws + rest) * costs.connections_per_process),
        ws_gigabytes=(people * costs.socket_kilobytes / 1e6) + ws * costs.process_megabytes / 1e3,
    )


def page(plans: Sequence[Plan]) -> str:
    """Return plans beside each other, as a table of Markdown."""
    rows = [
        ("people", [f"{each.people:,}".replace(",", " ") for each in plans]),
        ("`ws` processes, a core each", [f"{each.ws}" for each in plans]),
        ("`rest` processes, a core each", [f"{each.rest}" for each in plans]),
        ("memory of all `ws`, GB", [f"{each.ws_gigabytes:.1f}" for each in plans]),
        ("joins a second, in the rush", [f"{each.joins_per_second:.0f}" for each in plans]),
        ("deliveries a second", [f"{each.deliveries_per_second:.0f}" for each in plans]),
        ("messages a second through Redis", [f"{each.messages_per_second:.0f}" for each in plans]),
        ("commits a second", [f"{each.commits_per_second:.0f}" for each in plans]),
        ("cores of PostgreSQL", [f"{each.database_cores:.1f}" for each in plans]),
        ("connections to PostgreSQL", [f"{each.database_connections}" for each in plans]),
    ]
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * (len(plans) + 1), *lines[1:]])


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description=__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=SIZES, help="people who are in meetings at once")
    for field in fields(Workload):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    wanted = vars(parser.parse_args())
    sizes = wanted.pop("people")
    print(page([plan(people, Workload(**wanted), Costs()) for people in sizes]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
