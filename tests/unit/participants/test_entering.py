"""Joining and leaving as a service: seats, the queue, stays, and what is told about them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from shared.core.errors import DomainError, ValidationFailed
from shared.core.streams import hosts_stream, meeting_stream
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import entering, leaving, service
from shared.participants.errors import ParticipantNotFound
from shared.participants.models import (
    ATTENDEE,
    CONNECTED,
    DENIED,
    HOST,
    INVITED,
    JOINED,
    LEFT,
    RECONNECTING,
    REMOVED,
    WAITING,
    stays,
)
from shared.policies.cache import get_policy
from shared.policies.errors import MaxParticipantsReached, MeetingLocked, PasscodeRequired, UserBlocked
from shared.policies.remedies import REMEDIES
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene, change_place
from tests.fakes.clock import FakeClock


def seats(scene: Scene, meeting_id: str) -> int:
    """Return how many seats are taken, by both counts."""
    with scene.runtime.reading() as tx:
        counted = entering.seats_in_use(tx, meeting_id)
    assert scene.state(meeting_id).seats_taken == counted
    return counted


def open_stays(scene: Scene, participant_id: str) -> int:
    with scene.runtime.reading() as tx:
        return len(tx.all(select(stays).where(stays.c.participant_id == participant_id, stays.c.left_at.is_(None))))


def test_who_joins_gets_one_seat_and_all_are_told(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user("Ada")
    admission = scene.join(meeting_id, ada, device_type="phone", join_muted=True, join_without_video=True)
    me = admission.participant
    assert (admission.is_waiting, admission.is_new_guest) == (False, False)
    assert (me.status, me.role, me.user_name, me.device_type) == (JOINED, ATTENDEE, "Ada", "phone")
    assert (me.is_muted, me.is_video_enabled, me.joined_at) == (True, False, timed.now())
    assert me == scene.place(meeting_id, ada)
    assert seats(scene, meeting_id) == 1
    told = scene.events(meeting_stream(meeting_id))[-1]
    assert (told.type, told.actor_id, json.loads(told.data)["participant_id"]) == ("join", ada.user_id, me.id)


def test_joining_again_is_the_same_seat_and_tells_nobody(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    first = scene.join(meeting_id, ada).participant
    again = scene.join(meeting_id, ada, join_muted=True, display_name="Other").participant
    assert again == first
    assert scene.told(meeting_id).count("join") == 1
    assert seats(scene, meeting_id) == 1
    scene.leave(meeting_id, ada)
    back = scene.join(meeting_id, ada, display_name="Other").participant
    assert (back.id, back.user_name, back.left_at) == (first.id, "Other", None)
    assert back.media_identity not in (None, first.media_identity)
    assert seats(scene, meeting_id) == 1


def test_an_invited_person_takes_the_place_that_was_kept(timed: Runtime) -> None:
    scene = Scene(timed)
    ada = scene.user()
    meeting_id = scene.meeting(scene.user(), invitees=(ada.email,))
    place = scene.place(meeting_id, ada)
    assert place.status == INVITED
    assert scene.join(meeting_id, ada).participant.id == place.id


@pytest.mark.parametrize(
    ("wish", "rules", "muted", "video"),
    [
        ({}, {}, False, True),
        ({"join_muted": True}, {}, True, True),
        ({"join_without_video": True}, {}, False, False),
        ({}, {"mute_on_entry": True}, True, True),
        ({}, {"disable_camera": True}, False, False),
    ],
)
def test_wish_and_policy_decide_together_how_somebody_enters(
    timed: Runtime, wish: dict[str, Any], rules: dict[str, Any], muted: bool, video: bool
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy=rules)
    me = scene.join(meeting_id, scene.user(), **wish).participant
    assert (me.is_muted, me.is_video_enabled) == (muted, video)


def not_running(scene: Scene, state: str) -> tuple[str, Actor]:
    host = scene.user()
    meeting_id = scene.meeting(host, start=state == "completed")
    with scene.runtime.transaction() as tx:
        if state == "completed":
            meetings.end(tx, meeting_id, None)
        elif state == "cancelled":
            meetings.cancel(tx, meeting_id, host)
    return meeting_id, host


@pytest.mark.parametrize("verb", ["join", "leave"])
@pytest.mark.parametrize(
    ("state", "refusal"),
    [("scheduled", MeetingNotActive), ("completed", MeetingEnded), ("cancelled", InvalidMeetingState)],
)
def test_a_meeting_that_does_not_run_is_neither_entered_nor_left(
    timed: Runtime, verb: str, state: str, refusal: type[DomainError]
) -> None:
    scene = Scene(timed)
    meeting_id, host = not_running(scene, state)
    with pytest.raises(refusal):
        getattr(scene, verb)(meeting_id, host)
    assert scene.place(meeting_id, host).status == INVITED


@pytest.mark.parametrize("verb", ["join", "leave"])
@pytest.mark.parametrize("meeting_id", [UNKNOWN, "no id"])
def test_a_meeting_that_does_not_exist_is_not_found(timed: Runtime, verb: str, meeting_id: str) -> None:
    scene = Scene(timed)
    with pytest.raises(MeetingNotFound):
        getattr(scene, verb)(meeting_id, scene.user())


def test_p5_a_full_meeting_takes_staff_and_nobody_else_until_a_seat_is_free(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host, policy={"max_participants": 2})
    ada, bob, eve = scene.user(), scene.user(), scene.user()
    for who in (host, scene.co_host(meeting_id), ada, bob):
        assert scene.join(meeting_id, who).participant.is_inside
    told = scene.told(meeting_id)
    with pytest.raises(MaxParticipantsReached) as refused:
        scene.join(meeting_id, eve)
    assert refused.value.details == {
        "rule": "max_participants",
        "remedy": REMEDIES["max_participants"],
        "max_participants": 2,
    }
    assert (seats(scene, meeting_id), scene.told(meeting_id)) == (2, told)
    scene.leave(meeting_id, ada)
    assert scene.join(meeting_id, eve).participant.is_inside
    assert seats(scene, meeting_id) == 2


def test_staff_who_leave_free_no_seat_because_they_had_none(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    scene.join(meeting_id, scene.user())
    assert scene.join(meeting_id, host).participant.role == HOST
    scene.leave(meeting_id, host)
    assert seats(scene, meeting_id) == 1
    assert scene.join(meeting_id, host).participant.role == HOST


def test_a_guest_needs_a_name_and_keeps_one_seat_by_the_token(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"allow_anonymous_join": True})
    with pytest.raises(ValidationFailed) as refused:
        scene.join(meeting_id, None)
    assert list(refused.value.details) == ["display_name"]
    assert seats(scene, meeting_id) == 0
    admission = scene.join(meeting_id, None, display_name="  Zoë\u202e  ")
    assert admission.is_new_guest
    assert (admission.participant.user_id, admission.participant.user_name) == (None, "Zoë")
    guest = Actor(name="Zoë", participant_id=admission.participant.id, meeting_id=meeting_id)
    again = scene.join(meeting_id, guest)
    assert (again.participant.id, again.is_new_guest) == (admission.participant.id, False)
    scene.leave(meeting_id, guest)
    assert scene.join(meeting_id, guest).participant.id == admission.participant.id
    assert seats(scene, meeting_id) == 1


def test_who_must_wait_stands_in_line_and_only_hosts_are_told(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host, policy={"require_waiting_room": True, "allow_anonymous_join": True})
    assert scene.join(meeting_id, host).position is None
    ada, bob = scene.user(), scene.user()
    told = scene.told(meeting_id)
    places = []
    for who, wish in ((ada, {}), (bob, {}), (None, {"display_name": "Guest"})):
        clock.pass_(seconds=1)
        places.append(scene.join(meeting_id, who, **wish))
    assert [place.position for place in places] == [1, 2, 3]
    assert [place.is_waiting for place in places] == [True] * 3
    assert [place.is_new_guest for place in places] == [False, False, True]
    assert (seats(scene, meeting_id), scene.told(meeting_id)) == (0, told)
    clock.pass_(seconds=1)
    assert scene.join(meeting_id, bob).position == 2  # asking again does not lose the turn
    lines = [json.loads(entry.data) for entry in scene.events(hosts_stream(meeting_id))]
    assert [(line["action"], line["position"]) for line in lines] == [("waiting", n) for n in (1, 2, 3)]
    scene.leave(meeting_id, ada)
    assert scene.join(meeting_id, bob).position == 1
    gone = scene.place(meeting_id, ada)
    assert (gone.status, gone.waiting_since, gone.left_at) == (LEFT, None, timed.now())
    last = json.loads(scene.events(hosts_stream(meeting_id))[-1].data)
    assert (last["action"], last["participant_id"]) == ("withdrawn", gone.id)
    assert scene.told(meeting_id) == told
    clock.pass_(seconds=1)
    assert scene.join(meeting_id, ada).position == 3  # who comes back stands at the end


def test_people_who_asked_in_the_same_instant_have_different_places(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"require_waiting_room": True})
    waiters = [scene.user() for _ in range(4)]
    for who in waiters:
        scene.join(meeting_id, who)
    assert sorted(scene.join(meeting_id, who).position or 0 for who in waiters) == [1, 2, 3, 4]


def test_a_waiter_with_a_lost_connection_who_leaves_is_not_swept_again_and_again(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"require_waiting_room": True})
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    change_place(timed, place.id, presence=RECONNECTING, disconnected_at=timed.now())
    scene.leave(meeting_id, ada)
    gone = scene.place(meeting_id, ada)
    assert (gone.presence, gone.disconnected_at) == (None, None)


@pytest.mark.parametrize(
    ("state", "enters"),
    [
        ({"was_admitted": True, "status": LEFT}, True),
        ({"was_admitted": False, "status": LEFT}, False),
        ({"was_admitted": True, "status": REMOVED}, False),
        ({"was_admitted": False, "status": DENIED}, False),
        ({"was_admitted": True, "status": DENIED}, False),
    ],
)
def test_s38_who_was_admitted_once_need_not_wait_again_unless_they_were_removed(
    timed: Runtime, state: dict[str, Any], enters: bool
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"require_waiting_room": True})
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    change_place(timed, place.id, waiting_since=None, **state)
    admission = scene.join(meeting_id, ada)
    assert (admission.participant.status, admission.is_waiting) == ((JOINED, False) if enters else (WAITING, True))
    assert admission.participant.id == place.id


def test_a_denied_person_may_ask_again_and_a_banned_one_may_not(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    scene.leave(meeting_id, ada)
    change_place(timed, place.id, status=REMOVED, is_banned=True)
    with pytest.raises(UserBlocked):
        scene.join(meeting_id, ada)
    assert seats(scene, meeting_id) == 0
    for status in (REMOVED, DENIED):
        change_place(timed, place.id, status=status, is_banned=False)
        assert scene.join(meeting_id, ada).participant.id == place.id
        scene.leave(meeting_id, ada)


@pytest.mark.parametrize(
    ("rules", "refusal"),
    [
        ({"lock_meeting": True}, MeetingLocked),
        ({"require_password": True, "passcode": "open sesame"}, PasscodeRequired),
    ],
)
def test_s43_who_went_out_meets_the_rules_again_and_who_is_inside_does_not(
    timed: Runtime, rules: dict[str, Any], refusal: type[DomainError]
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy=rules)
    inside, outside = scene.user(), scene.user()
    for who, status in ((inside, JOINED), (outside, LEFT)):
        with timed.transaction() as tx:
            place = service.add_place(tx, meeting_id, who.user_id, who.name, ATTENDEE)
        change_place(timed, place.id, status=status)
    assert scene.join(meeting_id, inside).participant.is_inside
    with pytest.raises(refusal):
        scene.join(meeting_id, outside)


# --- leaving


def test_the_duration_sums_every_stay(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    clock.pass_(seconds=90)
    first = scene.leave(meeting_id, ada)
    assert (first.left_at, first.duration_minutes) == (timed.now(), 1.5)
    clock.pass_(minutes=10)
    assert scene.leave(meeting_id, ada) == first
    scene.join(meeting_id, ada)
    clock.pass_(seconds=45)
    with timed.reading() as tx:
        assert leaving.duration_minutes(tx, place.id) == 2.25
    assert scene.leave(meeting_id, ada).duration_minutes == 2.25
    assert scene.told(meeting_id).count("leave") == 2
    assert open_stays(scene, place.id) == 0


def test_leaving_lowers_the_hand_and_ends_the_screen(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    change_place(
        timed,
        place.id,
        is_hand_raised=True,
        hand_raised_at=timed.now(),
        is_screen_sharing=True,
        presence=CONNECTED,
    )
    scene.leave(meeting_id, ada)
    gone = scene.place(meeting_id, ada)
    assert (gone.is_hand_raised, gone.hand_raised_at, gone.is_screen_sharing, gone.presence) == (
        False,
        None,
        False,
        None,
    )
    leaving = scene.events(meeting_stream(meeting_id))[-1]
    assert (leaving.type, leaving.effect) == ("leave", f"gone:{place.id}:1000")
    assert json.loads(leaving.data)["reason"] == "left"


def test_who_never_came_cannot_leave(timed: Runtime) -> None:
    scene = Scene(timed)
    ada = scene.user()
    meeting_id = scene.meeting(scene.user(), invitees=(ada.email,))
    with pytest.raises(ParticipantNotFound):
        scene.leave(meeting_id, ada)
    with pytest.raises(MeetingNotFound):
        scene.leave(meeting_id, scene.user())


def test_taking_somebody_out_twice_does_nothing_the_second_time(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    inside = scene.join(meeting_id, ada).participant
    scene.leave(meeting_id, ada)
    told = scene.told(meeting_id)
    with timed.transaction() as tx:
        assert leaving.take_out(tx, inside, "left") == inside
    assert (scene.told(meeting_id), seats(scene, meeting_id)) == (told, 0)


def test_the_end_ends_every_stay_with_one_event(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host, policy={"join_approval_mode": "manual"})
    waiter, other = scene.user(), scene.user()
    with timed.transaction() as tx:
        gone = service.add_place(tx, meeting_id, other.user_id, other.name, ATTENDEE)
    change_place(timed, gone.id, status=LEFT, left_at=timed.now())
    scene.join(meeting_id, host)
    scene.join(meeting_id, waiter)
    change_place(timed, scene.place(meeting_id, host).id, is_hand_raised=True, presence=CONNECTED)
    clock.pass_(minutes=5)
    scene.end(meeting_id)
    assert scene.told(meeting_id) == ["meeting_status", "join", "meeting_status"]
    for who in (host, waiter):
        place = scene.place(meeting_id, who)
        assert (place.status, place.left_at, place.waiting_since) == (LEFT, timed.now(), None)
        assert (place.is_hand_raised, place.presence) == (False, None)
    assert scene.participant(meeting_id, gone.id).left_at != timed.now()
    with timed.reading() as tx:
        (stay,) = tx.all(select(stays).where(stays.c.meeting_id == meeting_id))
    assert (stay.left_at, stay.left_seq) == (timed.now(), 3)
    assert seats(scene, meeting_id) == 0


@pytest.mark.parametrize("has_livekit", [True, False])
def test_the_end_lets_a_worker_delete_the_media_room_where_there_is_one(timed: Runtime, has_livekit: bool) -> None:
    settings = timed.settings if has_livekit else replace(timed.settings, livekit_url="")
    scene = Scene(replace(timed, settings=settings, tools=replace(timed.tools, settings=settings)))
    meeting_id = scene.meeting(scene.user())
    with scene.runtime.transaction() as tx:
        meetings.end(tx, meeting_id, None)
    assert [errand.name for errand in tx.errands] == (["livekit.delete_room"] if has_livekit else [])


@pytest.mark.parametrize("step", ["leave", "end"])
def test_i5_no_stay_ends_before_it_began_although_its_end_was_asked_for_before(
    timed: Runtime, clock: FakeClock, step: str
) -> None:
    """A transaction has the time at which it began; one that waited for the row is older than what went before it."""
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    clock.pass_(seconds=-1)
    if step == "leave":
        assert scene.leave(meeting_id, ada).duration_minutes == 0.0
    else:
        assert scene.end(meeting_id).duration_minutes == 0.0
    with timed.reading() as tx:
        (stay,) = tx.all(select(stays).where(stays.c.participant_id == place.id))
        assert stay.left_at == stay.entered_at
        assert leaving.duration_minutes(tx, place.id) == 0.0


def test_p5_the_statement_that_takes_a_seat_counts_for_itself(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"max_participants": 1})
    before = scene.state(meeting_id)
    scene.join(meeting_id, scene.user())
    with pytest.raises(MaxParticipantsReached), timed.transaction() as tx:
        entering.take_seat(tx, before, get_policy(tx, before))
    assert seats(scene, meeting_id) == 1
