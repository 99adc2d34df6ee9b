"""Who acts."""

import pytest

from shared.identity.actor import Actor

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("actor", "is_guest", "key"),
    [
        (Actor(name="Ada", user_id="u1", participant_id="p1"), False, "u1"),
        (Actor(name="Guest", participant_id="p1", meeting_id="m1"), True, "p1"),
        (Actor(name="Nobody"), True, "anonymous"),
    ],
)
def test_an_actor_is_a_user_or_a_guest_and_is_counted_by_who_it_is(actor: Actor, is_guest: bool, key: str):
    assert (actor.is_guest, actor.key) == (is_guest, key)
