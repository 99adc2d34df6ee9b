"""Tickets for the WebSocket (S11): one use, 30 seconds, one meeting, one person."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from shared.core.errors import DomainError
from shared.identity.actor import Actor
from shared.meetings.errors import InvalidMeetingState, MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants import tickets
from shared.participants.errors import NotInside
from shared.participants.tickets import TICKET_SECONDS, Redeemed
from shared.runtime import Runtime
from tests.factories.world import Person, World
from tests.fakes.clock import FakeClock


@pytest.fixture
def bob(world: World) -> Person:
    """Somebody inside a meeting."""
    return world.person("Bob")


@pytest.fixture
def meeting_id(world: World, bob: Person) -> str:
    """The meeting Bob is in."""
    host = world.person()
    made = world.meeting(host)
    world.inside(made, host, bob)
    return made


def issue(runtime: Runtime, meeting_id: str, person: Person) -> str:
    """Return a ticket of somebody."""
    assert person.actor is not None
    with runtime.transaction() as tx:
        return tickets.issue(tx, meeting_id, person.actor, tx.now + timedelta(minutes=15))


def redeem(runtime: Runtime, meeting_id: str, ticket: str) -> Redeemed | None:
    """Use a ticket."""
    with runtime.transaction() as tx:
        return tickets.redeem(tx, [(meeting_id, ticket)]).get((meeting_id, ticket))


def test_a_ticket_is_worth_its_person_once(timed: Runtime, meeting_id: str, bob: Person) -> None:
    ticket = issue(timed, meeting_id, bob)
    redeemed = redeem(timed, meeting_id, ticket)
    assert redeemed is not None
    assert bob.actor is not None
    assert redeemed.session_id == bob.actor.session_id
    assert redeemed.token_expires_at == timed.now() + timedelta(minutes=15)
    assert redeem(timed, meeting_id, ticket) is None


def test_a_ticket_lives_thirty_seconds(timed: Runtime, clock: FakeClock, meeting_id: str, bob: Person) -> None:
    early, late = issue(timed, meeting_id, bob), issue(timed, meeting_id, bob)
    clock.pass_(seconds=TICKET_SECONDS - 1)
    assert redeem(timed, meeting_id, early) is not None
    clock.pass_(seconds=1)
    assert redeem(timed, meeting_id, late) is None


def test_a_ticket_is_worth_nothing_elsewhere_and_is_not_used_up_by_the_attempt(
    timed: Runtime, world: World, meeting_id: str, bob: Person
) -> None:
    ticket = issue(timed, meeting_id, bob)
    assert redeem(timed, world.meeting(world.person()), ticket) is None
    assert redeem(timed, meeting_id, ticket + "x") is None
    assert redeem(timed, meeting_id, ticket) is not None


def test_tickets_are_long_differ_and_are_kept_as_hashes_only(timed: Runtime, meeting_id: str, bob: Person) -> None:
    issued = {issue(timed, meeting_id, bob) for _ in range(5)}
    assert len(issued) == 5
    assert min(map(len, issued)) >= 32
    with timed.reading() as tx:
        assert not set(tx.connection.execute(select(tickets.tickets.c.digest)).scalars()) & issued


def ended(world: World, host: Person, meeting_id: str) -> None:
    """End the meeting."""
    host.post(f"/meetings/{meeting_id}/end")


def left(world: World, host: Person, meeting_id: str) -> None:
    """Leave again."""
    host.post(f"/meetings/{meeting_id}/leave")


@pytest.mark.parametrize(
    ("start", "then", "refusal"),
    [(True, ended, MeetingEnded), (True, left, NotInside), (False, None, MeetingNotActive)],
)
def test_only_who_may_listen_gets_a_ticket(
    timed: Runtime,
    world: World,
    start: bool,
    then: Callable[[World, Person, str], None] | None,
    refusal: type[DomainError],
) -> None:
    host = world.person()
    meeting_id = world.meeting(host, start=start)
    host.post(f"/meetings/{meeting_id}/join")
    if then:
        then(world, host, meeting_id)
    with pytest.raises(refusal):
        issue(timed, meeting_id, host)


def test_a_stranger_a_cancelled_meeting_and_one_who_is_only_invited(timed: Runtime, world: World) -> None:
    host, stranger, invited = world.person(), world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    with pytest.raises(MeetingNotFound):
        issue(timed, meeting_id, stranger)
    with pytest.raises(NotInside):
        issue(timed, meeting_id, invited)
    off = world.meeting(host, start=False)
    host.delete(f"/meetings/{off}")
    with pytest.raises(InvalidMeetingState):
        issue(timed, off, host)


def test_who_waits_may_listen(timed: Runtime, world: World, bob: Person) -> None:
    meeting_id = world.meeting(world.person(), policy={"require_waiting_room": True})
    waiting = bob.post(f"/meetings/{meeting_id}/join")
    redeemed = redeem(timed, meeting_id, issue(timed, meeting_id, bob))
    assert redeemed is not None
    assert redeemed.participant_id == waiting.data["participant_id"]


def test_a_guests_ticket_has_no_session(timed: Runtime, world: World) -> None:
    meeting_id = world.meeting(world.person(), policy={"allow_anonymous_join": True})
    seat = world.nobody().post(f"/meetings/{meeting_id}/join", {"display_name": "Gus"}).data
    guest = Actor(name="Gus", participant_id=seat["participant_id"], meeting_id=meeting_id)
    with timed.transaction() as tx:
        ticket = tickets.issue(tx, meeting_id, guest, tx.now)
    redeemed = redeem(timed, meeting_id, ticket)
    assert redeemed is not None
    assert (redeemed.participant_id, redeemed.session_id) == (seat["participant_id"], None)


def test_tickets_that_nobody_used_are_forgotten_a_few_at_a_time(
    timed: Runtime, clock: FakeClock, meeting_id: str, bob: Person
) -> None:
    for _ in range(3):
        issue(timed, meeting_id, bob)
    clock.pass_(seconds=TICKET_SECONDS)
    fresh = issue(timed, meeting_id, bob)
    with timed.transaction() as tx:
        assert tickets.forget_expired(tx, 2) == 2
        while tickets.forget_expired(tx):
            pass
        kept = tx.scalar(select(func.count()).where(tickets.tickets.c.meeting_id == meeting_id))
    assert kept == 1
    assert redeem(timed, meeting_id, fresh) is not None
