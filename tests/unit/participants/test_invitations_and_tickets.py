"""Invitations that become places, and tickets that open a WebSocket once."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from shared.core.errors import DomainError
from shared.core.ids import new_id
from shared.meetings.errors import MeetingEnded, MeetingNotFound
from shared.participants import tickets
from shared.participants.errors import NotInside, ParticipantExists
from shared.participants.models import INVITED, invitations
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock


def test_an_address_with_an_account_gets_a_place_and_one_without_a_promise(timed: Runtime) -> None:
    scene = Scene(timed)
    ada = scene.user("Ada")
    address = f"{new_id().lower()}@example.com"
    first, second = (
        scene.meeting(scene.user(), invitees=(str(ada.email).upper(), address), start=False) for _ in range(2)
    )
    assert scene.place(first, ada).status == INVITED
    bob = scene.user("Bob", email=address)
    for meeting_id in (first, second):
        place = scene.place(meeting_id, bob)
        assert (place.status, place.user_name) == (INVITED, "Bob")
    with timed.reading() as tx:
        assert tx.all(select(invitations).where(invitations.c.email == address)) == []


@pytest.mark.parametrize("twice", ["the same address", "another case", "the host's own"])
def test_nobody_is_invited_twice(timed: Runtime, twice: str) -> None:
    scene = Scene(timed)
    host = scene.user()
    address = f"{new_id().lower()}@example.com"
    invitees = {
        "the same address": (address, address),
        "another case": (address, address.upper()),
        "the host's own": (str(host.email).upper(),),
    }[twice]
    with pytest.raises(ParticipantExists) as refused:
        scene.meeting(host, invitees=invitees)
    assert refused.value.details == {"email": invitees[0].lower()}
    with timed.reading() as tx:
        assert tx.all(select(invitations).where(invitations.c.email == address)) == []


# --- tickets


def issue(scene: Scene, meeting_id: str, who: object) -> str:
    with scene.runtime.transaction() as tx:
        return tickets.issue(tx, meeting_id, who, tx.now + timedelta(hours=1))  # type: ignore[arg-type]


def redeem(scene: Scene, meeting_id: str, ticket: str) -> tickets.Redeemed | None:
    with scene.runtime.transaction() as tx:
        return tickets.redeem(tx, [(meeting_id, ticket)]).get((meeting_id, ticket))


def test_a_ticket_works_once_and_says_whose_it_was(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    ada = scene.user()
    place = scene.join(meeting_id, ada).participant
    ticket = issue(scene, meeting_id, ada)
    expected = tickets.Redeemed(place.id, ada.session_id, timed.now() + timedelta(hours=1))
    assert redeem(scene, meeting_id, ticket) == expected
    assert redeem(scene, meeting_id, ticket) is None
    with timed.reading() as tx:
        assert tx.first(select(tickets.tickets).where(tickets.tickets.c.digest == ticket)) is None


def test_a_ticket_opens_one_meeting_for_thirty_seconds(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    host = scene.user()
    here, there = scene.meeting(host), scene.meeting(host)
    for meeting_id in (here, there):
        scene.join(meeting_id, host)
    first, second = issue(scene, here, host), issue(scene, here, host)
    assert redeem(scene, there, first) is None
    assert redeem(scene, here, "~" + first[1:]) is None
    clock.pass_(seconds=tickets.TICKET_SECONDS - 1)
    assert redeem(scene, here, first) is not None
    clock.pass_(seconds=1)
    assert redeem(scene, here, second) is None


@pytest.mark.parametrize(
    ("what", "refusal"),
    [
        ("inside", None),
        ("waiting", None),
        ("invited", NotInside),
        ("out", NotInside),
        ("over", MeetingEnded),
        ("stranger", MeetingNotFound),
    ],
)
def test_tickets_are_for_who_is_inside_or_waits(timed: Runtime, what: str, refusal: type[DomainError] | None) -> None:
    scene = Scene(timed)
    ada = scene.user()
    rules = {"require_waiting_room": what == "waiting"}
    meeting_id = scene.meeting(scene.user(), policy=rules, invitees=(ada.email,) if what == "invited" else ())
    if what not in ("invited", "stranger"):
        scene.join(meeting_id, ada)
    if what == "out":
        scene.leave(meeting_id, ada)
    if what == "over":
        scene.end(meeting_id)
    if refusal is None:
        assert redeem(scene, meeting_id, issue(scene, meeting_id, ada)) is not None
        return
    with pytest.raises(refusal):
        issue(scene, meeting_id, ada)


def test_tickets_that_nobody_used_are_forgotten_bit_by_bit(timed: Runtime, clock: FakeClock) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    scene.join(meeting_id, host)

    def mine() -> int:
        with timed.reading() as tx:
            return len(tx.all(select(tickets.tickets).where(tickets.tickets.c.meeting_id == meeting_id)))

    for _ in range(3):
        issue(scene, meeting_id, host)
    with timed.transaction() as tx:
        tickets.forget_expired(tx)
    assert mine() == 3
    clock.pass_(seconds=tickets.TICKET_SECONDS)
    with timed.transaction() as tx:
        assert tickets.forget_expired(tx, limit=1) == 1
        assert tickets.forget_expired(tx) >= 2
    assert mine() == 0
