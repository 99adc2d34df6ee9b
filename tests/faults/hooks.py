"""Webhooks in a drill: each meeting tells somebody else's server what is said, and that is held against the ledger.

At least once, in order, signed, and what comes again comes with the same id and the same words (promise P16).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import create_engine
from standardwebhooks import Webhook

from dev.http_client import Api
from tests.fakes.receiver import Arrival
from tests.faults.checker import Row
from tests.faults.drill import Drill
from tests.faults.invariants import rows_of

Place = tuple[str, int]  # a meeting, and a number of its stream
CLOCK_SECONDS = 60.0  # so far may a timestamp be from when it arrives


@dataclass(slots=True)
class Told:
    """Defects, each as a sentence, and how much was looked at."""

    defects: list[str] = field(default_factory=list)
    events: int = 0
    requests: int = 0
    again: int = 0  # taken more than once


@dataclass(frozen=True, slots=True)
class Hooks:
    """The webhooks of a drill's hosts; `secrets` by meeting."""

    drill: Drill
    secrets: Mapping[str, str]

    @classmethod
    def of(cls, drill: Drill, url: str) -> "Hooks":
        """Have every meeting's chat told to `url`, by its host."""
        hosts = [client for client in drill.crowd.clients if client.seat.is_staff]
        secrets = {}
        for host in hosts:
            api = Api(drill.site.url, host.seat.token)
            made = api.post("/webhooks", {"url": url, "events": ["chat.message"]}).data
            secrets[host.seat.meeting_id] = made["secret"]
            api.close()
        return cls(drill, secrets)

    def said(self) -> list[Row]:
        """Return what was said in public, as the ledger has it."""
        engine = create_engine(self.drill.site.settings.database_url)
        try:
            with engine.connect() as connection:
                rows = rows_of(connection, [f"m:{meeting_id}" for meeting_id in self.secrets])
        finally:
            engine.dispose()
        return [row for row in rows if row.key is not None]

    def wait_until_told(self, arrivals: Sequence[Arrival], seconds: float) -> float:
        """Wait until all that was said by now was taken; return how long it took."""
        said = {(row.stream[2:], row.seq) for row in self.said()}
        return self.drill.site.until(lambda: said <= _taken(arrivals), seconds, "everything was told")

    def judge(self, arrivals: Sequence[Arrival]) -> Told:
        """Hold what arrived against the ledger, and demand that nothing is wrong."""
        told = judge(arrivals, self.said(), self.secrets)
        assert told.defects == [], told.defects[:20]
        return told


def _taken(arrivals: Iterable[Arrival]) -> set[Place]:
    return {_place(each) for each in tuple(arrivals) if each.taken}


def _place(arrival: Arrival) -> Place:
    body = arrival.body
    return body["meeting_id"], body["seq"]


def judge(arrivals: Sequence[Arrival], said: Sequence[Row], secrets: Mapping[str, str]) -> Told:
    """Judge what arrived, in the order of the answers. Pure."""
    keys = {(row.stream[2:], row.seq): row.key for row in said}
    told = Told(events=len(keys), requests=len(arrivals))
    told.defects += [f"lost: {place}" for place in sorted(set(keys) - _taken(arrivals))]
    letters: dict[Place, set[tuple[str, bytes]]] = defaultdict(set)
    taken: dict[Place, int] = defaultdict(int)
    for each in arrivals:
        place, body = _place(each), each.body
        if keys.get(place) != body["data"].get("content", "").split(" ")[0]:
            told.defects.append(f"made up: {place} {body['data']}")
        if not _is_signed(each, secrets[place[0]]):
            told.defects.append(f"not signed: {place} {each.headers}")
        missing = [
            n for (meeting_id, n) in keys if meeting_id == place[0] and n < place[1] and not taken[meeting_id, n]
        ]
        if missing:
            told.defects.append(f"out of order: {place} before {missing[:3]}")
        letters[place].add((each.id, each.raw))
        taken[place] += each.taken
    told.defects += [f"comes with other words: {place}" for place, known in letters.items() if len(known) > 1]
    ids = [next(iter(known))[0] for known in letters.values()]
    told.defects += ["two events have one id"] if len(set(ids)) < len(ids) else []
    told.again = sum(times - 1 for times in taken.values() if times > 1)
    return told


def _is_signed(arrival: Arrival, secret: str) -> bool:
    at: Any = int(arrival.headers["webhook-timestamp"])
    expected = Webhook(secret).sign(arrival.id, datetime.fromtimestamp(at, UTC), arrival.raw.decode())
    return abs(arrival.at - at) < CLOCK_SECONDS and expected in arrival.headers["webhook-signature"].split(" ")
