"""A drill: a meeting with listeners and senders, while the test breaks something, and the verdict afterwards."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

from sqlalchemy import Engine, create_engine

from tests.faults.checker import Delays, Verdict, answers, check, delays
from tests.faults.clients import Client, Crowd, Door, Seat
from tests.faults.invariants import heads_of, rows_of, violations
from tests.faults.people import People
from tests.faults.site import Site

SETTLE_SECONDS = 60.0


class Drill:
    """`with Drill(site, people) as drill:` everybody is connected, half to each web process, and nobody talks yet."""

    def __init__(
        self,
        site: Site,
        people: People,
        *,
        clients: int = 20,
        senders: int = 4,
        meetings: int = 1,
        ports: Sequence[int] = (),
    ) -> None:
        self.site = site
        self.people = people
        self.crowd = Crowd()
        self.ports = list(ports) or site.ports
        self._wanted = clients
        self._senders = senders
        self._meetings = meetings
        self.meeting_ids: list[str] = []
        self.began = 0.0

    def __enter__(self) -> Self:
        self.crowd.__enter__()
        for _ in range(self._meetings):
            for number, seat in enumerate(self.people.meeting(self._wanted // self._meetings)):
                self.crowd.add(seat, self.ports, home=number, by_ticket=number % 4 == 0)
                if seat.meeting_id not in self.meeting_ids:
                    self.meeting_ids.append(seat.meeting_id)
        self.crowd.wait_until_connected(60)
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.crowd.__exit__()

    @property
    def senders(self) -> list[Client]:
        """Return those who talk."""
        each = self._senders // self._meetings or 1
        found: list[Client] = []
        for meeting_id in self.meeting_ids:
            found.extend([c for c in self.crowd.clients if c.seat.meeting_id == meeting_id][:each])
        return found

    def talk(self, per_second: float, doors: Sequence[Door] = ("ws", "rest")) -> None:
        """Let the senders talk, so much a second all together."""
        self.crowd.talk(self.senders, len(self.senders) / per_second, doors)

    def settle(self, seconds: float = SETTLE_SECONDS) -> Verdict:
        """Let everybody finish, hear the rest, and judge. Raises AssertionError when somebody cannot hear the rest."""
        self.crowd.hush()
        engine = create_engine(self.site.settings.database_url)
        try:
            self.crowd.wait_until_connected(seconds)
            self.crowd.wait_until_heard(self._heads(engine), seconds)
            # Somebody who left or came back meanwhile made an event: once more, until nothing is new.
            self.crowd.wait_until_heard(self._heads(engine), seconds)
            with engine.connect() as connection:
                return check(self.crowd.history, rows_of(connection, self._streams()), all_heard=False)
        finally:
            engine.dispose()

    def judge(self, seconds: float = SETTLE_SECONDS) -> Verdict:
        """Settle, and demand that nothing is wrong: with the histories, or with the database."""
        verdict = self.settle(seconds)
        assert verdict.defects == [], verdict.defects[:20]
        assert self.broken() == []
        return verdict

    def broken(self) -> list[str]:
        """Return which invariants the database breaks."""
        engine = create_engine(self.site.settings.database_url)
        try:
            with engine.connect() as connection:
                return violations(connection)
        finally:
            engine.dispose()

    def _streams(self) -> list[str]:
        own = {client.seat.stream("me") for client in self.crowd.clients}
        return sorted(own | {f"{kind}:{m}" for m in self.meeting_ids for kind in "mh"})

    def _heads(self, engine: Engine) -> dict[str, int]:
        with engine.connect() as connection:
            return heads_of(connection, self._streams())

    # --- figures

    def delays(self, since: float = 0.0, until: float = float("inf")) -> Delays:
        """Return how long after its acknowledgement each message arrived at each client."""
        return delays(self.crowd.history, since, until)

    def answers(self, since: float = 0.0, until: float = float("inf")) -> Delays:
        """Return how long each acknowledgement took, retries included."""
        return answers(self.crowd.history, since, until)

    def troubles(self) -> Counter[str]:
        """Return how often which answer left a sender in doubt."""
        return Counter(r.detail for r in self.crowd.history if r.kind == "unknown")

    @property
    def bugs(self) -> int:
        """Return how many answers said that we have a bug."""
        return sum(count for what, count in self.troubles().items() if "INTERNAL_ERROR" in what)

    def resumes(self) -> Delays:
        """Return how long every loss of a connection lasted."""
        return Delays(tuple(sorted(s for client in self.crowd.clients for s in client.resumed_after)))


def seats_of(clients: Sequence[Client]) -> list[Seat]:
    """Return the seats of clients."""
    return [client.seat for client in clients]
