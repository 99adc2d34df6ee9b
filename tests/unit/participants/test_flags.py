"""What people say about themselves: microphone, camera, screen, hand."""

import json
from typing import Any

import pytest

from shared.core.errors import DomainError
from shared.core.streams import meeting_stream
from shared.meetings.errors import MeetingEnded, MeetingNotFound
from shared.participants.errors import NotInside
from shared.participants.flags import Flags, FlagsSet, set_my_flags
from shared.participants.models import ATTENDEE, CO_HOST
from shared.policies.errors import HandRaiseDisabled, ScreenShareDisabled
from shared.runtime import Runtime
from tests.factories.scene import Scene, change_place
from tests.fakes.clock import FakeClock


def say(scene: Scene, meeting_id: str, who: Any, **flags: bool) -> FlagsSet:
    with scene.runtime.transaction() as tx:
        return set_my_flags(tx, meeting_id, who, Flags(**flags))


@pytest.mark.parametrize(
    ("flags", "types"),
    [
        ({"is_muted": True}, ["participant_update"]),
        ({"is_video_enabled": False}, ["participant_update"]),
        ({"is_screen_sharing": True}, ["participant_update", "screen_share"]),
        ({"is_hand_raised": True}, ["participant_update", "hand_raise"]),
        ({"is_hand_raised": False}, ["participant_update", "hand_raise"]),
        (
            {"is_muted": True, "is_screen_sharing": True, "is_hand_raised": True},
            ["participant_update", "screen_share", "hand_raise"],
        ),
    ],
)
def test_flags_that_are_given_are_set_and_told_and_the_others_stay(
    timed: Runtime, flags: dict[str, bool], types: list[str]
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    before = scene.join(meeting_id, ada).participant
    done = say(scene, meeting_id, ada, **flags)
    now = scene.place(meeting_id, ada)
    assert done.participant == now
    for name in ("is_muted", "is_video_enabled", "is_screen_sharing", "is_hand_raised"):
        assert getattr(now, name) == flags.get(name, getattr(before, name))
    events = scene.events(meeting_stream(meeting_id))[2:]
    assert [event.type for event in events] == types
    assert done.update.seq == events[0].seq
    assert (done.signal.seq if done.signal else events[0].seq) == events[-1].seq
    update = json.loads(events[0].data)
    assert {name: update[name] for name in flags} == flags


def test_a_hand_that_is_up_keeps_its_turn_until_it_goes_down(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    scene.join(meeting_id, ada)
    raised_at = clock.pass_(seconds=1)
    say(scene, meeting_id, ada, is_hand_raised=True)
    clock.pass_(seconds=1)
    assert say(scene, meeting_id, ada, is_hand_raised=True).participant.hand_raised_at == raised_at
    assert say(scene, meeting_id, ada, is_hand_raised=False).participant.hand_raised_at is None
    assert say(scene, meeting_id, ada, is_hand_raised=True).participant.hand_raised_at == timed.now()


@pytest.mark.parametrize(
    ("rules", "role", "flags", "refusal"),
    [
        ({"screen_share_permissions": "host"}, ATTENDEE, {"is_screen_sharing": True}, ScreenShareDisabled),
        ({"screen_share_permissions": "host"}, CO_HOST, {"is_screen_sharing": True}, None),
        ({"screen_share_permissions": "none"}, CO_HOST, {"is_screen_sharing": True}, ScreenShareDisabled),
        ({"screen_share_permissions": "none"}, ATTENDEE, {"is_screen_sharing": False}, None),
        ({"screen_share_permissions": "none"}, ATTENDEE, {"is_muted": True}, None),
        ({"enable_hand_raise": False}, ATTENDEE, {"is_hand_raised": True}, HandRaiseDisabled),
        ({"enable_hand_raise": False}, CO_HOST, {"is_hand_raised": True}, HandRaiseDisabled),
        ({"enable_hand_raise": False}, ATTENDEE, {"is_hand_raised": False}, None),
        ({"enable_hand_raise": False}, ATTENDEE, {"is_hand_raised": True, "is_muted": True}, HandRaiseDisabled),
    ],
)
def test_the_policy_refuses_flags_whole_and_never_refuses_to_stop(
    timed: Runtime,
    rules: dict[str, Any],
    role: str,
    flags: dict[str, bool],
    refusal: type[DomainError] | None,
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy=rules)
    who = scene.co_host(meeting_id) if role == CO_HOST else scene.user()
    before = scene.join(meeting_id, who).participant
    told = scene.told(meeting_id)
    if refusal is None:
        say(scene, meeting_id, who, **flags)
        assert scene.told(meeting_id) != told
        return
    with pytest.raises(refusal) as refused:
        say(scene, meeting_id, who, **flags)
    assert set(refused.value.details) == {"rule", "remedy"}
    assert (scene.place(meeting_id, who), scene.told(meeting_id)) == (before, told)


@pytest.mark.parametrize(
    ("what", "refusal"), [("stranger", MeetingNotFound), ("out", NotInside), ("over", MeetingEnded)]
)
def test_only_who_is_inside_a_running_meeting_has_flags(timed: Runtime, what: str, refusal: type[DomainError]) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    who = scene.user()
    if what != "stranger":
        change_place(timed, scene.join(meeting_id, who).participant.id, is_muted=False)
    if what == "out":
        scene.leave(meeting_id, who)
    if what == "over":
        scene.end(meeting_id)
    told = scene.told(meeting_id)
    with pytest.raises(refusal):
        say(scene, meeting_id, who, is_muted=True)
    assert scene.told(meeting_id) == told
