"""A walk through the API as everybody, in any order: a lot decides the steps, the model says what must come of them."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.machine.cast import PEOPLE, Cast
from tests.machine.driver import DOORS, Driver
from tests.machine.wishes import (
    ACTORS,
    AT_THE_DOOR,
    EITHER,
    EVERYBODY,
    FLAGS,
    INSIDE,
    MOSTLY,
    OUT,
    PASSCODES,
    RIGHT,
    RIGHTS,
    ROLES,
    RULERS,
    SCENES,
    SELDOM,
    Drawn,
    Lot,
    Thrown,
    some_people,
)
from tests.machine.words import Identity


class Walk(Driver):
    """One meeting, from its creation on. Whoever was dealt with tries at once what they now may or may not.

    Every public method that takes a lot alone is a step.
    """

    def __init__(self, cast: Cast, lot: Lot) -> None:
        """Make the meeting; mostly it runs, and some people are there already."""
        super().__init__(cast)
        host = PEOPLE["host"]
        first = {**lot.one(SCENES), **(lot.one(INSIDE) if lot.one(EITHER) else {})}
        self.create(host, [PEOPLE["deputy"], PEOPLE["ina"]], first)
        if lot.one(MOSTLY):
            self.change_role(host, "deputy", "co-host")
        if not lot.one(SELDOM):
            self.move(host, "start")
            for who in some_people(lot, 6):
                self.join(who, lot.one(PASSCODES))

    def finish(self) -> None:
        """Look once more as a host does; every stream counts 1, 2, 3 …"""
        self.observer.look(self.model)
        self.observer.check_streams(self.model)

    def _one_of(self, lot: Lot, *statuses: str) -> Identity:
        """Draw somebody whose place has one of these statuses; without any, somebody."""
        return lot.one([one.who for one in self.model.places.values() if one.status in statuses] or EVERYBODY)

    def somebody_moves_the_meeting(self, lot: Lot) -> None:
        if self.model.status != "in_progress" or lot.one(SELDOM):
            self.move(lot.one(ACTORS), lot.one(("start", "end", "cancel")))

    # --- coming and going

    def somebody_joins(self, lot: Lot) -> None:
        self.join(lot.one(EVERYBODY), lot.one(PASSCODES), lot.one(EITHER), lot.one(EITHER))

    def somebody_comes_back(self, lot: Lot) -> None:
        self.join(self._one_of(lot, *OUT), lot.one(PASSCODES))

    def somebody_leaves(self, lot: Lot) -> None:
        who = self._one_of(lot, "joined", "waiting")
        self.leave(who)
        if lot.one(SELDOM):
            self.try_doors(who)

    def somebody_asks_what_a_join_would_get(self, lot: Lot) -> None:
        who, whom = lot.one(ACTORS), lot.one(EVERYBODY)
        self.foresee(who, who if whom.is_guest else whom)

    # --- the waiting room

    def people_are_admitted(self, lot: Lot) -> None:
        self.admit(lot.one(ACTORS), None if lot.one(EITHER) else self._some_who_wait(lot))

    def people_are_denied(self, lot: Lot) -> None:
        chosen = self._some_who_wait(lot)
        self.deny(lot.one(ACTORS), chosen)
        self.try_doors(PEOPLE[chosen[0]])

    def _some_who_wait(self, lot: Lot) -> list[str]:
        """Draw one or two who wait; when nobody does, somebody."""
        queue = self.model.queue or list(PEOPLE)
        return list(dict.fromkeys(lot.one(queue) for _ in range(lot.one((1, 2)))))

    def somebody_who_waits_tries_doors(self, lot: Lot) -> None:
        if self.model.queue:
            self.try_doors(self._one_of(lot, "waiting"))

    def somebody_is_sent_back(self, lot: Lot) -> None:
        whom = self._one_of(lot, "joined")
        self.send_back(lot.one(ACTORS), whom.name)
        self.join(whom, RIGHT)

    # --- what is done to others

    def somebody_is_removed(self, lot: Lot) -> None:
        whom = self._one_of(lot, "joined", "waiting", "left", "invited")
        self.remove(lot.one(ACTORS), whom.name, lot.one(EITHER))
        self.try_doors(whom)
        if lot.one(MOSTLY):
            self.join(whom, RIGHT)

    def a_role_is_changed(self, lot: Lot) -> None:
        self.change_role(lot.one(ACTORS), lot.one(list(PEOPLE)), lot.one(ROLES))

    def somebody_changes_the_own_role(self, lot: Lot) -> None:
        who = lot.one(RULERS)
        self.change_role(who, who.name, lot.one(ROLES))

    def a_flag_is_changed(self, lot: Lot) -> None:
        self.change_flag(lot.one(ACTORS), self._one_of(lot, "joined").name, lot.one(FLAGS), lot.one(EITHER))

    def a_right_is_changed(self, lot: Lot) -> None:
        whom = self._one_of(lot, "joined")
        self.change_right(lot.one(ACTORS), whom.name, lot.one(RIGHTS), lot.one(SELDOM))
        self.speak(whom, None)
        self.set_flag(whom, "is_muted", False)

    def the_rules_of_the_door_are_changed(self, lot: Lot) -> None:
        rules = {**lot.one(AT_THE_DOOR), **lot.one(AT_THE_DOOR)}
        self.change_policy(lot.one(RULERS), rules, lot.one(SELDOM))
        self.observer.look(self.model)
        for who in some_people(lot, 2):
            self.join(who, lot.one(PASSCODES))

    def the_rules_inside_are_changed(self, lot: Lot) -> None:
        self.change_policy(lot.one(RULERS), lot.one(INSIDE), False)
        by = self._one_of(lot, "joined")
        self.speak(by, None)
        self.knock(by, "reaction")
        self.set_flag(by, "is_hand_raised", True)
        self.set_flag(by, "is_screen_sharing", True)

    # --- what people do and see

    def somebody_sets_a_flag(self, lot: Lot) -> None:
        self.set_flag(self._one_of(lot, "joined"), lot.one(FLAGS), lot.one(EITHER))

    def somebody_speaks(self, lot: Lot) -> None:
        to = self._one_of(lot, "joined").name if lot.one(MOSTLY) else None
        self.speak(self._one_of(lot, "joined"), to)
        for somebody in (lot.one(EVERYBODY), PEOPLE["host"]):
            self.knock(somebody, "history")

    def somebody_knocks(self, lot: Lot) -> None:
        who = lot.one(EVERYBODY)
        self.knock(who, lot.one(list(DOORS)))
        self.knock(who, "roster")

    def somebody_asks_about_another_meeting(self, lot: Lot) -> None:
        rest = lot.one(("", "/status", "/participants"))
        for who in (lot.one(EVERYBODY), PEOPLE["gus"], PEOPLE["gil"]):
            answer = self.people[who.name].get(f"/meetings/{self.cast.elsewhere}{rest}")
            is_known = who.name in self.observer.ids or not who.is_guest
            expected = (404, "MEETING_NOT_FOUND") if is_known else (401, "UNAUTHENTICATED")
            assert (answer.status, answer.code) == expected, f"{who.name}: another meeting's {rest}: {answer.body}"


STEPS: dict[str, Callable[[Walk, Lot], None]] = {
    name: step
    for name, step in vars(Walk).items()
    if callable(step) and name.startswith(("somebody_", "people_", "a_", "the_"))
}


def walk(cast: Cast, seed: int, steps: int) -> None:
    """Walk so many steps, the same ones for the same seed."""
    lot = Thrown(seed)
    one = Walk(cast, lot)
    for _ in range(steps):
        STEPS[lot.one(list(STEPS))](one, lot)
    one.finish()


class MeetingMachine(RuleBasedStateMachine):
    """The walk for Hypothesis: each step is a rule."""

    cast: Cast
    walk: Walk | None = None

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Make the meeting."""
        self.walk = Walk(self.cast, Drawn(data))

    def teardown(self) -> None:
        """Look once more."""
        if self.walk is not None:
            self.walk.finish()


def _rule(step: Callable[[Walk, Lot], None]) -> Any:
    def take(self: MeetingMachine, data: st.DataObject) -> None:
        assert self.walk is not None
        step(self.walk, Drawn(data))

    take.__name__ = step.__name__
    return rule(data=st.data())(take)


def machine_of(cast: Cast) -> type[MeetingMachine]:
    """Return the machine for Hypothesis, with these people."""
    rules = {name: _rule(step) for name, step in STEPS.items()}
    return type("MachineOfCast", (MeetingMachine,), {**rules, "cast": cast})
