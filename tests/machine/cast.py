"""Who takes part: accounts of several domains, guests, and a meeting that is none of theirs."""

from shared.core.ids import new_id
from tests.factories.world import Person, World
from tests.machine.words import Identity

PEOPLE = {
    name: Identity(name, domain)
    for name, domain in (
        ("host", "in.com"),
        ("deputy", "in.com"),  # is invited, and mostly a co-host
        ("ina", "out.com"),  # is invited
        ("ann", "in.com"),
        ("eve", "notin.com"),
        ("bob", "sub.in.com"),
        ("gus", None),
        ("gil", None),
    )
}


class Cast:
    """The accounts, made once for many meetings; `elsewhere` is a running meeting of somebody else."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accounts = {
            one.name: world.person(one.name.title(), email=f"{one.name}.{new_id().lower()}@{one.domain}")
            for one in PEOPLE.values()
            if not one.is_guest
        }
        self.elsewhere = world.meeting(world.person("Somebody Else"))

    def people(self) -> dict[str, Person]:
        """Return everybody as they come to a new meeting: guests have no token yet."""
        return {**self.accounts, "gus": self.world.nobody(), "gil": self.world.nobody()}
