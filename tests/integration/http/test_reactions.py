"""Reactions: answered, and kept nowhere."""

from typing import Any

import pytest

from tests.factories.scene import co_host
from tests.factories.world import World

TYPES = ("thumbs_up", "thumbs_down", "clap", "heart", "laugh", "surprised", "party", "wave")


@pytest.mark.parametrize("reaction_type", TYPES)
def test_a_reaction_says_who_and_how_and_is_not_kept(world: World, reaction_type: str) -> None:
    host, ada = world.person(), world.person("Ada")
    meeting_id = world.meeting(host)
    _, seat = world.inside(meeting_id, host, ada)
    before = host.get(f"/meetings/{meeting_id}/events").data
    answer = ada.post(f"/meetings/{meeting_id}/reactions", {"reaction_type": reaction_type})
    assert (answer.status, answer.data) == (
        201,
        {
            "participant_id": seat["participant_id"],
            "user_id": ada.id,
            "user_name": "Ada",
            "reaction_type": reaction_type,
        },
    )
    assert host.get(f"/meetings/{meeting_id}/events").data == before


def test_reactions_that_are_switched_off_are_refused_to_all(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host, policy={"enable_reactions": False})
    people = (host, co_host(world, meeting_id), world.person())
    world.inside(meeting_id, *people)
    for person in people:
        answer = person.post(f"/meetings/{meeting_id}/reactions", {"reaction_type": "clap"})
        assert (answer.status, answer.code) == (403, "REACTIONS_DISABLED")


@pytest.mark.parametrize(
    "body", [{}, {"reaction_type": "sneer"}, {"reaction_type": None}, {"reaction_type": "clap", "x": 1}]
)
def test_what_is_no_reaction_is_422(world: World, body: dict[str, Any]) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    answer = host.post(f"/meetings/{meeting_id}/reactions", body)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")


def test_only_who_is_inside_reacts(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    path, body = f"/meetings/{meeting_id}/reactions", {"reaction_type": "clap"}
    for person, status in ((host, 201), (ada, 403), (world.person(), 404), (world.nobody(), 401)):
        assert person.post(path, body).status == status
    host.post(f"/meetings/{meeting_id}/end")
    assert host.post(path, body).code == "MEETING_ENDED"
