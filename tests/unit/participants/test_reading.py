"""Who may read what: memberships, the roster, cursors, resuming, and the snapshot."""

from typing import Any

import pytest

from shared.core.errors import DomainError, InsufficientPermission
from shared.core.ids import new_id
from shared.core.streams import hosts_stream, meeting_stream, personal_stream
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import membership, queries, snapshot
from shared.participants.errors import NotInside, ParticipantNotFound
from shared.participants.models import (
    ATTENDEE,
    CO_HOST,
    DENIED,
    HOST,
    INVITED,
    JOINED,
    LEFT,
    REMOVED,
    STATUSES,
    WAITING,
    Participant,
)
from shared.participants.permissions import CHAT_SEND, MEETING_END, MEETING_READ, MEETING_UPDATE, SNAPSHOT_READ
from shared.participants.service import add_place
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene, change_place
from tests.fakes.clock import FakeClock


def somebody(scene: Scene, meeting_id: str, status: str, role: str = ATTENDEE, *, came: bool = False) -> Actor:
    """Return somebody whose place in the meeting is in this state; `came`: was inside once."""
    actor = scene.user()
    with scene.runtime.transaction() as tx:
        place = add_place(tx, meeting_id, actor.user_id, actor.name, role)
    if came or status == JOINED:
        scene.join(meeting_id, actor)
    change_place(scene.runtime, place.id, status=status)
    return actor


OK = None


@pytest.mark.parametrize(
    ("status", "came", "role", "member", "reader", "inside"),
    [
        (INVITED, False, ATTENDEE, OK, NotInside, NotInside),
        (WAITING, False, ATTENDEE, OK, NotInside, NotInside),
        (JOINED, True, ATTENDEE, OK, OK, OK),
        (LEFT, True, ATTENDEE, OK, OK, NotInside),
        (LEFT, False, ATTENDEE, OK, NotInside, NotInside),
        (REMOVED, True, ATTENDEE, MeetingNotFound, MeetingNotFound, MeetingNotFound),
        (DENIED, False, ATTENDEE, MeetingNotFound, MeetingNotFound, MeetingNotFound),
        (INVITED, False, CO_HOST, OK, OK, NotInside),
        (LEFT, True, CO_HOST, OK, OK, NotInside),
        (JOINED, True, CO_HOST, OK, OK, OK),
        (REMOVED, True, CO_HOST, MeetingNotFound, MeetingNotFound, MeetingNotFound),
    ],
)
def test_s37_each_state_opens_the_doors_it_should_and_no_other(
    timed: Runtime, status: str, came: bool, role: str, member: Any, reader: Any, inside: Any
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    actor = somebody(scene, meeting_id, status, role, came=came)
    for permission, refusal in ((MEETING_READ, member), (SNAPSHOT_READ, reader), (CHAT_SEND, inside)):
        with timed.reading() as tx:
            if refusal is None:
                assert membership.get_permitted(tx, meeting_id, actor, permission).me.status == status
            else:
                with pytest.raises(refusal) as refused:
                    membership.get_permitted(tx, meeting_id, actor, permission)
                assert type(refused.value) is refusal


@pytest.mark.parametrize(
    ("role", "staff", "host"),
    [
        (ATTENDEE, InsufficientPermission, InsufficientPermission),
        (CO_HOST, OK, InsufficientPermission),
        (HOST, OK, OK),
    ],
)
def test_roles_open_the_doors_of_their_own(timed: Runtime, role: str, staff: Any, host: Any) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    actor = somebody(scene, meeting_id, JOINED, role)
    stranger = Actor(name="Stranger", user_id=new_id())
    for permission, refusal in ((MEETING_END, staff), (MEETING_UPDATE, host)):
        with timed.reading() as tx:
            if refusal is None:
                assert membership.get_permitted(tx, meeting_id, actor, permission).me.role == role
            else:
                with pytest.raises(refusal) as refused:
                    membership.get_permitted(tx, meeting_id, actor, permission)
                assert refused.value.details["rule"] == permission.name
                assert refused.value.details["remedy"].startswith("Ask ")
            with pytest.raises(MeetingNotFound):
                membership.get_permitted(tx, meeting_id, stranger, permission)


@pytest.mark.parametrize(
    ("step", "refusal"),
    [("scheduled", MeetingNotActive), ("ended", MeetingEnded), ("cancelled", InvalidMeetingState)],
)
def test_nobody_is_inside_a_meeting_that_does_not_run(timed: Runtime, step: str, refusal: type[DomainError]) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host, start=step == "ended")
    with timed.transaction() as tx:
        if step == "ended":
            meetings.end(tx, meeting_id, None)
        elif step == "cancelled":
            meetings.cancel(tx, meeting_id, host)
    with timed.reading() as tx, pytest.raises(refusal):
        membership.get_inside(tx, meeting_id, host)


@pytest.mark.parametrize("meeting_id", [UNKNOWN, "no id", ""])
def test_a_meeting_of_others_looks_like_one_that_does_not_exist(timed: Runtime, meeting_id: str) -> None:
    scene = Scene(timed)
    theirs = scene.meeting(scene.user())
    me = scene.user()
    for id_ in (meeting_id, theirs):
        with timed.reading() as tx, pytest.raises(MeetingNotFound) as refused:
            membership.get_membership(tx, id_, me)
        assert refused.value.text == "There is no such meeting."


def test_a_guest_is_a_member_of_one_meeting_only(timed: Runtime) -> None:
    scene = Scene(timed)
    here, there = (scene.meeting(scene.user(), policy={"allow_anonymous_join": True}) for _ in range(2))
    guest = scene.guest(here)
    with timed.reading() as tx:
        assert membership.get_inside(tx, here, guest).me.id == guest.participant_id
        with pytest.raises(MeetingNotFound):
            membership.get_membership(tx, there, guest)
        assert [row.id for row in tx.all(membership.my_meetings(guest, None, None, 10))] == [here]


def test_a_participant_is_found_in_their_own_meeting_only(timed: Runtime) -> None:
    scene = Scene(timed)
    here, there = scene.meeting(scene.user()), scene.meeting(scene.user())
    place = scene.join(here, scene.user()).participant
    with timed.reading() as tx:
        assert queries.get_participant(tx, here, place.id) == place
        for meeting_id, participant_id in ((there, place.id), (here, new_id()), (here, "no id")):
            with pytest.raises(ParticipantNotFound):
                queries.get_participant(tx, meeting_id, participant_id)


def test_attendees_see_who_is_or_was_inside_and_hosts_see_everybody(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    people = {status: somebody(scene, meeting_id, status, came=status in (LEFT, REMOVED)) for status in STATUSES}
    withdrew = somebody(scene, meeting_id, LEFT)
    ids = {scene.place(meeting_id, actor).id: status for status, actor in people.items()}
    withdrawn_id = scene.place(meeting_id, withdrew).id
    host_id = scene.place(meeting_id, host).id

    def seen(who: Actor, statuses: list[str] | None = None) -> set[str]:
        with timed.reading() as tx:
            query = queries.roster(scene.place(meeting_id, who), statuses, "", 100)
            return {Participant.of(row).id for row in tx.all(query)}

    assert seen(people[JOINED]) == {id_ for id_, status in ids.items() if status in (JOINED, LEFT)}
    assert seen(host) == {*ids, withdrawn_id, host_id}
    for status in STATUSES:
        of_status = {id_ for id_, is_now in ids.items() if is_now == status}
        assert seen(people[JOINED], [status]) == (of_status if status in (JOINED, LEFT) else set())
        extra = {withdrawn_id} if status == LEFT else {host_id} if status == INVITED else set()
        assert seen(host, [status]) == of_status | extra


def test_the_roster_is_read_in_pages(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    ids = sorted(scene.join(meeting_id, scene.user()).participant.id for _ in range(3))
    me = scene.place(meeting_id, host)
    with timed.reading() as tx:
        first = [row.id for row in tx.all(queries.roster(me, [JOINED], "", 2))]
        rest = [row.id for row in tx.all(queries.roster(me, [JOINED], first[-1], 2))]
    assert first + rest == ids


def test_counts_and_attendance_tell_who_is_and_who_ever_was_there(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada, bob = scene.user(), scene.user()
    for who in (ada, bob):
        scene.join(meeting_id, who)
    for _ in range(2):
        scene.leave(meeting_id, ada)
        scene.join(meeting_id, ada)
    scene.leave(meeting_id, bob)
    with timed.reading() as tx:
        assert queries.counts(tx, meeting_id) == {INVITED: 1, JOINED: 1, LEFT: 1}
        assert queries.attendance(tx, meeting_id) == 2


def test_my_meetings_are_those_i_host_joined_or_am_invited_to_newest_first(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    me, other = scene.user(), scene.user()
    mine = [scene.meeting(me, start=False), scene.meeting(other, invitees=(me.email,)), scene.meeting(other)]
    scene.join(mine[2], me)
    lost = [scene.meeting(other) for _ in range(2)]
    for meeting_id, status in zip(lost, (REMOVED, DENIED), strict=True):
        scene.join(meeting_id, me)
        change_place(timed, scene.place(meeting_id, me).id, status=status)
    scene.meeting(other)
    newest_first = sorted(mine, reverse=True)

    def listed(*wanted: Any) -> list[str]:
        with timed.reading() as tx:
            return [row.id for row in tx.all(membership.my_meetings(me, *wanted))]

    assert listed(None, None, 10) == newest_first
    assert listed(None, None, 1) == newest_first[:1]
    assert listed(None, newest_first[0], 10) == newest_first[1:]
    assert listed("scheduled", None, 10) == mine[:1]


@pytest.mark.parametrize(
    ("status", "came", "role", "hears", "reads"),
    [
        (JOINED, True, ATTENDEE, "m p", "meeting me"),
        (JOINED, True, CO_HOST, "m p h", "meeting me hosts"),
        (WAITING, False, ATTENDEE, "p", "me"),
        (INVITED, False, ATTENDEE, "p", "me"),
        (LEFT, True, ATTENDEE, "p", "me meeting"),
        (LEFT, False, ATTENDEE, "p", "me"),
        (INVITED, False, CO_HOST, "p", "me meeting hosts"),
    ],
)
def test_s37_streams_are_heard_and_counted_by_whom_they_are_for(
    timed: Runtime, status: str, came: bool, role: str, hears: str, reads: str
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    me = scene.place(meeting_id, somebody(scene, meeting_id, status, role, came=came))
    keys = {"m": meeting_stream(meeting_id), "p": personal_stream(me.id), "h": hosts_stream(meeting_id)}
    assert queries.audible_streams(me) == [keys[letter] for letter in hears.split()]
    with timed.reading() as tx:
        found = queries.cursors(tx, me)
    head = len(scene.events(keys["m"]))
    heads = {"meeting": head, "me": 0, "hosts": 0}
    assert found == {name: heads[name] for name in reads.split()}


def test_one_may_resume_only_what_happened_while_one_was_inside(timed: Runtime) -> None:
    scene = Scene(timed)
    host, ada = scene.user(), scene.user()
    meeting_id = scene.meeting(host)

    def may(who: Actor, seq: int) -> bool:
        with timed.reading() as tx:
            place = scene.place(meeting_id, who)
            return queries.may_resume(place, queries.entries_of(tx, [place.id]).get(place.id, ()), seq)

    assert not may(host, 1)  # never was inside
    scene.join(meeting_id, host)  # seq 2
    assert may(host, 0)
    scene.join(meeting_id, ada)  # seq 3
    assert [may(ada, seq) for seq in (1, 2, 3)] == [False, True, True]
    scene.leave(meeting_id, host)  # seq 4
    scene.join(meeting_id, host)  # seq 5
    assert [may(host, seq) for seq in (3, 4, 5)] == [False, True, True]


def test_hands_are_listed_in_the_order_they_went_up(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    people = [scene.join(meeting_id, scene.user()).participant for _ in range(3)]
    for person in reversed(people):
        change_place(timed, person.id, is_hand_raised=True, hand_raised_at=clock.pass_(seconds=1))
    out = scene.join(meeting_id, scene.user()).participant
    change_place(timed, out.id, status=LEFT, is_hand_raised=True, hand_raised_at=timed.now())
    with timed.reading() as tx:
        assert [p.id for p in queries.hands(tx, meeting_id)] == [p.id for p in reversed(people)]


def test_the_snapshot_shows_who_is_inside_and_where_the_streams_stand(timed: Runtime) -> None:
    scene = Scene(timed)
    host, ada = scene.user(), scene.user()
    meeting_id = scene.meeting(host, policy={"blocked_users": ["somebody"]})
    for who in (host, ada, scene.user()):
        scene.join(meeting_id, who)
    scene.leave(meeting_id, host)
    taken = {}
    for who in (host, ada):
        with timed.reading(consistent=True) as tx:
            taken[who.name] = snapshot.take(tx, meeting_id, who)
    hers, his = taken[ada.name], taken[host.name]
    assert hers.participants == his.participants
    assert len(hers.participants) == 2
    assert hers.me == scene.place(meeting_id, ada)
    assert hers.cursors == {"meeting": 5, "me": 0}
    assert his.cursors == {"meeting": 5, "me": 0, "hosts": 0}
    assert his.policy == hers.policy
    assert "blocked_users" not in his.policy
    assert (hers.meeting, hers.epoch) == (scene.state(meeting_id), his.epoch)
    with timed.reading(consistent=True) as tx, pytest.raises(MeetingNotFound):
        snapshot.take(tx, meeting_id, scene.user())
