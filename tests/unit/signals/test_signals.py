"""Reactions and typing: checked like everything else, kept nowhere."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingEnded, MeetingNotFound
from shared.participants.errors import NotInside
from shared.participants.standing import get_standing
from shared.policies.errors import ChatDisabled, ReactionsDisabled
from shared.runtime import Runtime
from shared.signals import service
from shared.signals.service import REACTION_TYPES
from tests.factories.scene import Scene

Step = Callable[[Transaction, str, Actor], None]


def react(tx: Transaction, meeting_id: str, actor: Actor) -> None:
    tx.emit(service.react(get_standing(tx, meeting_id, actor), "clap"))


def show_typing(tx: Transaction, meeting_id: str, actor: Actor) -> None:
    tx.emit(service.show_typing(get_standing(tx, meeting_id, actor), True))


@pytest.mark.parametrize("reaction_type", REACTION_TYPES)
def test_a_reaction_is_told_and_not_kept(timed: Runtime, reaction_type: str) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user("Ada")
    me = scene.join(meeting_id, ada).participant
    told = scene.told(meeting_id)
    with timed.transaction() as tx:
        event = service.react(get_standing(tx, meeting_id, ada), reaction_type)
        tx.emit(event)
    assert tx.signals == [event]
    assert (event.type, event.actor_id, event.data()) == (
        "reaction",
        ada.user_id,
        {"participant_id": me.id, "user_id": ada.user_id, "user_name": "Ada", "reaction_type": reaction_type},
    )
    assert scene.told(meeting_id) == told


@pytest.mark.parametrize("is_typing", [True, False])
def test_typing_is_told_and_not_kept(timed: Runtime, is_typing: bool) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user("Ada")
    me = scene.join(meeting_id, ada).participant
    told = scene.told(meeting_id)
    with timed.transaction() as tx:
        event = service.show_typing(get_standing(tx, meeting_id, ada), is_typing)
        tx.emit(event)
    assert tx.signals == [event]
    assert event.data() == {
        "participant_id": me.id,
        "user_id": ada.user_id,
        "user_name": "Ada",
        "is_typing": is_typing,
    }
    assert scene.told(meeting_id) == told


@pytest.mark.parametrize("step", [react, show_typing])
@pytest.mark.parametrize(
    ("what", "refusal"), [("stranger", MeetingNotFound), ("out", NotInside), ("over", MeetingEnded)]
)
def test_only_who_is_inside_a_running_meeting_signals(
    timed: Runtime, step: Step, what: str, refusal: type[DomainError]
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    who = scene.user()
    if what != "stranger":
        scene.join(meeting_id, who)
    if what == "out":
        scene.leave(meeting_id, who)
    if what == "over":
        scene.end(meeting_id)
    with pytest.raises(refusal), timed.transaction() as tx:
        step(tx, meeting_id, who)
    assert tx.signals == []


@pytest.mark.parametrize(
    ("step", "rules", "refusal", "host_may"),
    [
        (react, {"enable_reactions": False}, ReactionsDisabled, False),
        (react, {"chat_permissions": "none"}, None, True),
        (show_typing, {"chat_permissions": "none"}, ChatDisabled, False),
        (show_typing, {"chat_permissions": "host"}, ChatDisabled, True),
        (show_typing, {"enable_reactions": False}, None, True),
    ],
)
def test_the_policy_switches_each_signal_off_by_its_own_rule(
    timed: Runtime, step: Step, rules: dict[str, Any], refusal: type[DomainError] | None, host_may: bool
) -> None:
    scene = Scene(timed)
    host, ada = scene.user(), scene.user()
    meeting_id = scene.meeting(host, policy=rules)
    for who, may in ((host, host_may), (ada, refusal is None)):
        scene.join(meeting_id, who)
        if may:
            with timed.transaction() as tx:
                step(tx, meeting_id, who)
            assert len(tx.signals) == 1
            continue
        assert refusal is not None
        with pytest.raises(refusal) as refused, timed.transaction() as tx:
            step(tx, meeting_id, who)
        assert (set(refused.value.details), tx.signals) == ({"rule", "remedy"}, [])
