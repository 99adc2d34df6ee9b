"""Nobody waits in a circle: whoever changes several places takes them all before the first event (docs/adr/0018).

PostgreSQL would break the circle and the loser would be run again, which hides it: so its own count is looked at.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from shared.core.database import Database, TransactionConflict
from shared.core.errors import DomainError
from shared.core.ids import new_id
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.participants import flags, heartbeat, moderation, waiting
from shared.participants.flags import Flags
from shared.policies import service as policies
from shared.realtime import presence
from shared.realtime.presence import Socket
from shared.runtime import Runtime
from tests.factories.database import own_database
from tests.factories.scene import Scene

pytestmark = [pytest.mark.postgres_only, pytest.mark.timeout(120)]

THREADS, PEOPLE, OPERATIONS = 8, 8, 200


class Crowd:
    """A meeting on a database of its own, and what its people do to it at the same time."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.scene = Scene(runtime)
        self.host = self.scene.user()
        self.people = [self.scene.user() for _ in range(PEOPLE)]
        self.waiters = [self.scene.user() for _ in range(PEOPLE)]
        self.process = new_id()
        self.outcomes: Counter[str] = Counter()
        with runtime.transaction() as tx:
            presence.register(tx.connection, self.process, "web", tx.now)
        self.begin()

    def begin(self) -> None:
        """Begin a meeting in which all are, but those who wait."""
        self.id = self.scene.meeting(self.host)
        for person in (self.host, *self.people):
            self.scene.join(self.id, person)
        with self.runtime.transaction() as tx:
            policies.change_policy(tx, self.id, self.host, {"require_waiting_room": True}, replace=False)

    def set_flags(self, who: Actor) -> None:
        with self.runtime.transaction() as tx:
            flags.set_my_flags(tx, self.id, who, Flags(is_hand_raised=True, is_screen_sharing=True))

    def sign_off(self, who: Actor) -> None:
        socket = Socket(new_id(), self.id, self.scene.place(self.id, who).id)
        with self.runtime.transaction() as tx:
            heartbeat.connections_opened(tx, self.process, [socket])
        with self.runtime.transaction() as tx:
            heartbeat.connections_closed(tx, [socket])

    def change_rules(self, _: Actor) -> None:
        with self.runtime.transaction() as tx:
            rules = {"screen_share_permissions": "host", "enable_hand_raise": False, "disable_camera": True}
            policies.change_policy(tx, self.id, self.host, rules, replace=False)
        with self.runtime.transaction() as tx:
            policies.change_policy(tx, self.id, self.host, {"require_waiting_room": True}, replace=True)

    def admit_all(self, _: Actor) -> None:
        for waiter in self.waiters:
            self.scene.join(self.id, waiter)
        with self.runtime.transaction() as tx:
            waiting.admit(tx, self.id, self.host, None)
        for waiter in self.waiters:
            self.set_flags(waiter)
            self.scene.leave(self.id, waiter)

    def begin_series(self) -> None:
        """Begin two more meetings of a series, in which all are."""
        self.id = self.scene.meeting(self.host)
        self.series = [self.id, self.scene.meeting(self.host, series_of=self.id)]
        for meeting_id in self.series:
            for person in (self.host, *self.people):
                self.scene.join(meeting_id, person)

    def ban(self, who: Actor) -> None:
        """Ban somebody from one meeting of the series, in which they are everywhere, while their process dies."""
        rude = self.scene.user()
        for meeting_id in self.series:
            self.scene.join(meeting_id, rude)
        dying = threading.Thread(target=self.lose_process, args=(who, rude))
        dying.start()
        first = random.choice(self.series)
        try:
            with self.runtime.transaction() as tx:
                target = self.scene.place(first, rude).id
                moderation.remove(tx, first, self.host, target, ban=True, reason=None)
        finally:
            dying.join()

    def lose_process(self, *people: Actor) -> None:
        """A process dies that had connections of these people to all meetings of the series."""
        process = new_id()
        places = [self.scene.place(meeting_id, person).id for meeting_id in self.series for person in people]
        with self.runtime.transaction() as tx:
            presence.register(tx.connection, process, "web", tx.now - timedelta(hours=1))
            of = dict(zip(places, [one for one in self.series for _ in people], strict=True))
            heartbeat.connections_opened(tx, process, [Socket(new_id(), of[place], place) for place in places])
        self.sweep()

    def reload(self, who: Actor) -> None:
        """Open a second connection to a process whose lease is over, while a sweep finds it dead."""
        process, place = new_id(), self.scene.place(self.id, who).id
        with self.runtime.transaction() as tx:
            presence.register(tx.connection, process, "web", tx.now - timedelta(hours=1))
            presence.opened(tx.connection, process, [Socket(new_id(), self.id, place)], tx.now)
        sweep = threading.Thread(target=self.sweep)
        sweep.start()
        try:
            with self.runtime.transaction() as tx:
                heartbeat.connections_opened(tx, process, [Socket(new_id(), self.id, place)])
        except sqlalchemy.exc.IntegrityError:
            pass  # it was dead: the process knows, and closes the socket
        finally:
            sweep.join()

    def sweep(self) -> None:
        try:
            with self.runtime.transaction() as tx:
                heartbeat.sweep_processes(tx)
        except TransactionConflict:
            self.outcomes["conflict"] += 1

    def end(self, _: Actor) -> None:
        with self.runtime.transaction() as tx:
            meetings.end(tx, self.id, None)

    def run(self, seed: int, count: int, works: list[Callable[[Actor], None]], weights: list[int]) -> None:
        """Do `count` things by chance; a refusal is an outcome like any other, a conflict is counted apart."""
        chance = random.Random(seed)
        for _ in range(count):
            work = chance.choices(works, weights)[0]
            try:
                work(chance.choice(self.people))
            except DomainError as refused:
                self.outcomes[refused.code] += 1
            except TransactionConflict:
                self.outcomes["conflict"] += 1
            else:
                self.outcomes[work.__name__] += 1

    def at_once(self, works: list[Callable[[Actor], None]], weights: list[int], count: int) -> None:
        jobs: list[tuple[Any, ...]] = [(seed, count, works, weights) for seed in range(THREADS)]
        threads = [threading.Thread(target=self.run, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def crowd(runtime: Runtime, tmp_path: Path) -> Iterator[Crowd]:
    with own_database(runtime.database.url.render_as_string(hide_password=False), tmp_path) as url:
        database = Database(url, pool_size=THREADS)
        yield Crowd(replace(runtime, database=database))
        database.dispose()


def deadlocks(runtime: Runtime, crowd: Crowd) -> int:
    """Return how many circles PostgreSQL has broken in the crowd's database; a backend reports them when it goes."""
    crowd.runtime.database.dispose()
    with runtime.database.engine.connect() as connection:
        query = sqlalchemy.text("SELECT pg_stat_get_db_deadlocks(oid) FROM pg_database WHERE datname = :name")
        return int(connection.execute(query, {"name": crowd.runtime.database.url.database}).scalar_one())


def test_rules_admissions_flags_and_sign_offs_do_not_wait_in_a_circle(runtime: Runtime, crowd: Crowd) -> None:
    works = [crowd.set_flags, crowd.sign_off, crowd.change_rules, crowd.admit_all]
    crowd.at_once(works, [10, 4, 4, 1], OPERATIONS // THREADS)
    assert sum(crowd.outcomes.values()) == OPERATIONS
    assert {"set_flags", "sign_off", "change_rules"} <= crowd.outcomes.keys()
    assert crowd.outcomes["conflict"] == 0, crowd.outcomes
    assert deadlocks(runtime, crowd) == 0


def test_the_end_of_a_meeting_does_not_wait_in_a_circle_with_those_inside(runtime: Runtime, crowd: Crowd) -> None:
    for _ in range(5):
        crowd.begin()
        crowd.at_once([crowd.set_flags, crowd.sign_off, crowd.end], [12, 6, 1], 5)
    assert crowd.outcomes["set_flags"] > 0
    assert crowd.outcomes["end"] > 0
    assert crowd.outcomes["conflict"] == 0, crowd.outcomes
    assert deadlocks(runtime, crowd) == 0


def test_bans_over_a_series_do_not_wait_in_a_circle_with_dying_processes(runtime: Runtime, crowd: Crowd) -> None:
    crowd.begin_series()
    crowd.at_once([crowd.ban, crowd.lose_process, crowd.set_flags], [2, 3, 1], 12)
    assert {"ban", "lose_process"} <= crowd.outcomes.keys()
    assert crowd.outcomes["conflict"] == 0, crowd.outcomes
    assert deadlocks(runtime, crowd) == 0


def test_who_reloads_does_not_wait_in_a_circle_with_who_finds_their_process_dead(
    runtime: Runtime, crowd: Crowd
) -> None:
    crowd.at_once([crowd.reload, crowd.set_flags], [3, 1], 12)
    assert crowd.outcomes["reload"] > 0
    assert crowd.outcomes["conflict"] == 0, crowd.outcomes
    assert deadlocks(runtime, crowd) == 0


def test_who_is_moderated_is_told_as_they_are_by_then(crowd: Crowd) -> None:
    """A PATCH that changes nothing, while somebody unmutes: who is told last is told the truth."""
    ann = crowd.people[0]
    with crowd.runtime.transaction() as tx:
        flags.set_my_flags(tx, crowd.id, ann, Flags(is_muted=True))
    place = crowd.scene.place(crowd.id, ann).id
    told: list[bool] = []

    def moderate() -> None:
        with crowd.runtime.transaction() as tx:
            told.append(moderation.change(tx, crowd.id, crowd.host, place, {"role": "attendee"}).is_muted)

    moderator = threading.Thread(target=moderate)
    with crowd.runtime.transaction() as tx:
        flags.set_my_flags(tx, crowd.id, ann, Flags(is_muted=False))
        moderator.start()
        moderator.join(0.5)
        assert not told  # it waits
    moderator.join()
    assert told == [False]
