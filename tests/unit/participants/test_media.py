"""What a participant may publish: from role and policy, anew each time."""

import pytest

from shared.core.errors import DomainError, NotFound
from shared.core.ids import new_id
from shared.livekit.tokens import MediaGrant
from shared.meetings.errors import MeetingNotFound
from shared.participants.errors import NotInside
from shared.participants.media import PRESENT, SPEAK, grant_for
from shared.participants.models import ATTENDEE, CO_HOST
from shared.runtime import Runtime
from tests.factories.scene import Scene


def grant(scene: Scene, meeting_id: str, who: object, breakout_room_id: str | None = None) -> MediaGrant:
    with scene.runtime.reading() as tx:
        return grant_for(tx, meeting_id, who, breakout_room_id)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("permission", "role", "sources"),
    [
        ("all", ATTENDEE, SPEAK + PRESENT),
        ("all", CO_HOST, SPEAK + PRESENT),
        ("host", ATTENDEE, SPEAK),
        ("host", CO_HOST, SPEAK + PRESENT),
        ("none", ATTENDEE, SPEAK),
        ("none", CO_HOST, SPEAK),
    ],
)
def test_the_sources_follow_from_role_and_policy(
    timed: Runtime, permission: str, role: str, sources: tuple[str, ...]
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"screen_share_permissions": permission})
    who = scene.co_host(meeting_id) if role == CO_HOST else scene.user()
    scene.join(meeting_id, who, display_name="As shown")
    given = grant(scene, meeting_id, who)
    assert (given.room, given.name, given.sources) == (meeting_id, "As shown", sources)


def test_s16_the_identity_is_random_for_each_stay_and_the_same_within_one(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    identities = []
    for _ in range(2):
        place = scene.join(meeting_id, ada).participant
        assert grant(scene, meeting_id, ada) == grant(scene, meeting_id, ada)
        identities.append(grant(scene, meeting_id, ada).identity)
        scene.leave(meeting_id, ada)
    assert len(set(identities)) == 2
    for identity in identities:
        assert len(identity) >= 20
        assert not any(part and part in identity for part in (ada.user_id, ada.email, place.id))


@pytest.mark.parametrize(
    ("what", "refusal"), [("stranger", MeetingNotFound), ("out", NotInside), ("waiting", NotInside)]
)
def test_s37_who_is_not_inside_gets_none(timed: Runtime, what: str, refusal: type[DomainError]) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"require_waiting_room": what == "waiting"})
    who = scene.user()
    if what != "stranger":
        scene.join(meeting_id, who)
    if what == "out":
        scene.leave(meeting_id, who)
    with pytest.raises(refusal):
        grant(scene, meeting_id, who)


def test_a_breakout_room_that_does_not_exist_is_not_found(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    scene.join(meeting_id, host)
    with pytest.raises(NotFound):
        grant(scene, meeting_id, host, new_id())
