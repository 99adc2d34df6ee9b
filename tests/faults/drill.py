"""A drill: a meeting with listeners and senders, while the test breaks something, and the verdict afterwards."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from sqlalchemy import Engine, create_engine

from dev.http_client import Api
from tests.faults.checker import Delays, Verdict, answers, check, delays
from tests.faults.clients import Client, Crowd, Door
from tests.faults.invariants import heads_of, rows_of, violations
from tests.faults.people import People
from tests.faults.site import Site

SETTLE_SECONDS = 60.0


def pause(seconds: float) -> None:
    """Let a fault last, or something that must not happen have its chance."""
    threading.Event().wait(seconds)


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
        self.ports = list(ports) or list(site.ports)
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

    def talk(self, per_second: float, doors: Sequence[Door] = ("ws", "rest"), padding: int = 0) -> None:
        """Let the senders talk, so much a second all together."""
        self.crowd.talk(self.senders, len(self.senders) / per_second, doors, padding)

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

    def told(self, what: str, about: str = "") -> list[float]:
        """Return when the first of the clients heard events whose description begins so: `leave`, of somebody."""
        heard: dict[tuple[str | None, int | None], float] = {}
        for record in self.crowd.history:
            if record.kind == "recv" and record.detail.startswith(what) and about in record.detail:
                heard.setdefault((record.stream, record.seq), record.at)
        return sorted(heard.values())

    def resumes(self) -> Delays:
        """Return how long every loss of a connection lasted."""
        return Delays(tuple(sorted(s for client in self.crowd.clients for s in client.resumed_after)))


class Pulse:
    """Asks one address again and again while something breaks: `with Pulse(url) as pulse:`."""

    def __init__(self, url: str, path: str = "//healthz", every_seconds: float = 0.1) -> None:
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self._api = Api(url, seconds=15)
        self._path = path
        self._every = every_seconds
        self._body: Any = None
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="pulse", daemon=True)

    def authorize(self, token: str, body: Any = None) -> None:
        """Ask as somebody; with a body, by POST."""
        self._api.token = token
        self._body = body

    def _ask(self) -> None:
        while not self._enough.wait(self._every):
            began = time.monotonic()
            try:
                body = self._body
                status = (self._api.get(self._path) if body is None else self._api.post(self._path, body)).status
            except OSError:
                status = 0
            self.seconds.append(time.monotonic() - began)
            self.statuses[status] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(20)
        self._api.close()

    @property
    def delays(self) -> Delays:
        """Return how long the answers took."""
        return Delays(tuple(sorted(self.seconds)))
