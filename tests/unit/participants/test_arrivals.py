"""People who open their WebSockets at the same time are judged together, each as if alone (contract 11, S11, S13)."""

from datetime import timedelta

import pytest

from shared.core.errors import DomainError
from shared.core.ids import new_id
from shared.identity import service as identity
from shared.identity.actor import Actor
from shared.identity.errors import TokenRevoked, Unauthenticated
from shared.meetings.errors import MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import arrivals, tickets
from shared.participants.arrivals import Arrival, Listener
from shared.participants.errors import NotInside
from shared.participants.models import participants
from shared.runtime import Runtime
from tests.factories.scene import UNKNOWN, Scene, change_place

Outcome = Listener | DomainError


@pytest.fixture
def scene(timed: Runtime) -> Scene:
    """People and meetings."""
    return Scene(timed)


def receive(scene: Scene, *who: Arrival) -> list[Outcome]:
    """Judge people who arrive together."""
    with scene.runtime.transaction() as tx:
        return arrivals.receive(tx, who)


def with_token(meeting_id: str, actor: Actor) -> Arrival:
    """Return somebody who comes with an access token, or with a guest's."""
    if actor.is_guest:
        return Arrival(meeting_id, participant_id=actor.participant_id, guest_of=actor.meeting_id)
    return Arrival(meeting_id, user_id=actor.user_id, session_id=actor.session_id)


def with_ticket(scene: Scene, meeting_id: str, actor: Actor) -> Arrival:
    """Return somebody who comes with a ticket."""
    with scene.runtime.transaction() as tx:
        return Arrival(meeting_id, ticket=tickets.issue(tx, meeting_id, actor, tx.now + timedelta(minutes=15)))


def kinds(outcomes: list[Outcome]) -> list[type]:
    return [type(one) for one in outcomes]


def seats(scene: Scene, meeting_id: str, actor: Actor) -> str:
    return scene.place(meeting_id, actor).id


def test_users_guests_and_tickets_of_several_meetings_are_each_found(scene: Scene) -> None:
    host, ada = scene.user("Hana"), scene.user("Ada")
    here = scene.meeting(host, policy={"allow_anonymous_join": True})
    there = scene.meeting(ada, policy={"allow_anonymous_join": True})
    for meeting_id in (here, there):
        for actor in (host, ada):
            scene.join(meeting_id, actor)
    guest = scene.guest(there, "Gus")
    outcomes = receive(
        scene,
        with_token(here, host),
        with_token(there, ada),
        with_token(there, guest),
        with_ticket(scene, here, ada),
        with_ticket(scene, there, guest),
    )
    found = [one for one in outcomes if isinstance(one, Listener)]
    wanted = [(here, host), (there, ada), (there, guest), (here, ada), (there, guest)]
    assert [(one.membership.meeting.id, one.membership.me.id) for one in found] == [
        (meeting_id, seats(scene, meeting_id, actor)) for meeting_id, actor in wanted
    ]
    assert [one.actor for one in found] == [actor for _, actor in wanted]
    ends = scene.runtime.now() + timedelta(minutes=15)
    assert [one.token_expires_at for one in found] == [None, None, None, ends, ends]


def test_each_refusal_is_its_own_and_keeps_nobody_else_out(scene: Scene) -> None:
    host, ada, gone, stranger, out = (scene.user() for _ in range(5))
    meeting_id = scene.meeting(host, policy={"allow_anonymous_join": True})
    for actor in (host, ada, gone, out):
        scene.join(meeting_id, actor)
    scene.leave(meeting_id, gone)
    sent_away = scene.guest(meeting_id)
    change_place(scene.runtime, str(sent_away.participant_id), status="removed")
    change_place(scene.runtime, seats(scene, meeting_id, out), status="removed")
    waiting, ended = scene.meeting(host, start=False), scene.meeting(host)
    scene.end(ended)
    logged_out = scene.user()
    scene.join(meeting_id, logged_out)
    with scene.runtime.transaction() as tx:
        identity.revoke(tx, str(logged_out.session_id), "logout")
    outcomes = receive(
        scene,
        with_token(meeting_id, ada),
        with_token(meeting_id, gone),
        with_token(meeting_id, stranger),
        with_token(meeting_id, out),
        with_token(meeting_id, sent_away),
        with_token(meeting_id, logged_out),
        with_token(waiting, host),
        with_token(ended, host),
        with_token(UNKNOWN, host),
        with_token("no id", host),
        Arrival(meeting_id, ticket="made up"),
        with_token(meeting_id, host),
    )
    assert kinds(outcomes) == [
        Listener,
        NotInside,
        MeetingNotFound,
        MeetingNotFound,
        MeetingNotFound,
        TokenRevoked,
        MeetingNotActive,
        MeetingEnded,
        MeetingNotFound,
        MeetingNotFound,
        Unauthenticated,
        Listener,
    ]


def test_s13_a_token_says_who_one_is_and_nobody_is_taken_for_another(scene: Scene) -> None:
    host, ada = scene.user(), scene.user()
    here = scene.meeting(host, policy={"allow_anonymous_join": True})
    elsewhere = scene.meeting(host, policy={"allow_anonymous_join": True})
    for actor in (host, ada):
        scene.join(here, actor)
    guest = scene.guest(here)
    outcomes = receive(
        scene,
        Arrival(here, user_id=host.user_id, session_id=ada.session_id),  # a session of somebody else
        Arrival(here, user_id=host.user_id, session_id=new_id()),
        Arrival(here, participant_id=seats(scene, here, ada), guest_of=here),  # a guest's token for a user's place
        Arrival(here, participant_id=guest.participant_id, guest_of=elsewhere),
        Arrival(elsewhere, participant_id=guest.participant_id, guest_of=here),
        Arrival(here, participant_id=new_id(), guest_of=here),
        Arrival(elsewhere, user_id=ada.user_id, session_id=ada.session_id),  # is in a meeting that others came for
        with_token(here, host),
        with_token(elsewhere, host),
    )
    assert kinds(outcomes) == [
        TokenRevoked,
        TokenRevoked,
        TokenRevoked,
        TokenRevoked,
        MeetingNotFound,
        TokenRevoked,
        MeetingNotFound,
        Listener,
        NotInside,
    ]


def test_s11_a_ticket_that_comes_twice_at_once_opens_one_socket(scene: Scene) -> None:
    host = scene.user()
    meeting_id = scene.meeting(host)
    scene.join(meeting_id, host)
    ticket = with_ticket(scene, meeting_id, host)
    assert kinds(receive(scene, ticket, ticket)) == [Listener, Unauthenticated]
    assert kinds(receive(scene, ticket)) == [Unauthenticated]


def test_a_meeting_that_is_no_id_harms_nobody_who_comes_at_the_same_time(scene: Scene) -> None:
    host = scene.user()
    meeting_id = scene.meeting(host)
    scene.join(meeting_id, host)
    strange = (Arrival("a\x00b", ticket="x"), Arrival("a\x00b", user_id=host.user_id, session_id=host.session_id))
    outcomes = receive(scene, *strange, with_ticket(scene, meeting_id, host), with_token(meeting_id, host))
    assert kinds(outcomes) == [Unauthenticated, MeetingNotFound, Listener, Listener]


def test_a_ticket_is_worth_what_its_owner_is_worth_now(scene: Scene) -> None:
    host, ada, bob = scene.user(), scene.user(), scene.user()
    meeting_id = scene.meeting(host, policy={"allow_anonymous_join": True})
    for actor in (host, ada, bob):
        scene.join(meeting_id, actor)
    guest = scene.guest(meeting_id)
    late = [with_ticket(scene, meeting_id, actor) for actor in (ada, bob, guest)]
    with scene.runtime.transaction() as tx:
        identity.revoke(tx, str(ada.session_id), "logout")
        tx.execute(participants.update().where(participants.c.user_id == bob.user_id).values(status="removed"))
        tx.execute(participants.update().where(participants.c.id == guest.participant_id).values(status="left"))
    assert kinds(receive(scene, *late)) == [TokenRevoked, MeetingNotFound, NotInside]


def test_nobody_arrives(scene: Scene) -> None:
    assert receive(scene) == []
