"""How often the cache knows the rules of a meeting, as /metrics tells it (G12)."""

import re
from collections import Counter

import pytest

from shared.policies import cache
from tests.factories.world import Person, World
from web.realtime import handshake
from web.realtime.reception import Reception

pytestmark = pytest.mark.once

LOOKUPS = re.compile(r'^parley_cache_lookups_total\{cache="policy",layer="(\w+)",outcome="(\w+)"\} (\S+)', re.MULTILINE)


def lookups(world: World) -> Counter[tuple[str, str]]:
    text = world.app.test_client().get("/metrics").get_data(as_text=True)
    return Counter({(layer, outcome): int(float(count)) for layer, outcome, count in LOOKUPS.findall(text)})


def forget_all(world: World) -> None:
    """Let the process know nothing, as if it was just started."""
    world.runtime.tools.cache._entries.clear()
    world.runtime.tools.cache._absent.clear()


def test_in_a_meeting_of_fifty_nineteen_of_twenty_looks_at_the_rules_are_answered_from_memory(world: World) -> None:
    people = [world.person() for _ in range(50)]
    host, *_ = people
    meeting_id = world.meeting(host)
    path = f"/meetings/{meeting_id}"
    forget_all(world)  # and nobody laid it into Redis
    before = lookups(world)

    for person in people:
        assert person.post(f"{path}/join").status == 200
        assert person.post(f"{path}/chat", {"content": "Good morning"}).status == 201
        assert person.post(f"{path}/reactions", {"reaction_type": "wave"}).status == 201
    assert host.patch(f"{path}/security/policy", {"enable_polls": False}).status == 200
    for person in people:
        assert person.get(f"{path}/snapshot").status == 200

    counted = lookups(world) - before
    # Each one joins, writes, reacts and looks at the meeting; the host changes the rules.
    assert counted["l1", "hit"] + counted["l1", "miss"] == 4 * len(people) + 1
    assert counted["l1", "miss"] <= 2  # the first look, and the first behind the change
    assert counted["l1", "hit"] / (counted["l1", "hit"] + counted["l1", "miss"]) >= 0.95
    assert counted["l2", "hit"] + counted["l2", "miss"] == 1


@pytest.fixture
def meeting_id(world: World, host: Person) -> str:
    """A meeting with its host inside, in Redis, that this process knows nothing of, as if it was just started."""
    made = world.meeting(host)
    world.inside(made, host)
    with world.runtime.reading() as tx:
        entries = cache.prewarm(tx, [made])
    world.runtime.tools.cache.store(cache.KIND, entries)
    forget_all(world)
    return made


def test_a_request_takes_the_rules_from_redis(world: World, meeting_id: str) -> None:
    before = lookups(world)
    assert world.person().post(f"/meetings/{meeting_id}/join").status == 200
    counted = lookups(world) - before
    assert (counted["l2", "hit"], counted["l2", "miss"], counted["l1", "miss"]) == (1, 0, 0)


def test_a_socket_brings_the_rules_from_redis_for_its_frames(world: World, host: Person, meeting_id: str) -> None:
    reception = Reception(world.runtime)
    with world.app.test_request_context(headers={"Authorization": f"Bearer {host.token}"}):
        assert handshake._receive(reception, meeting_id).recovered is False
    assert world.runtime.tools.cache.knows(cache.KIND, meeting_id)
