"""Standings: looked up once, together with others, and again when an event says so."""

import time
from collections.abc import Iterator

import pytest
from flask import Flask

from shared.core.errors import DomainError
from shared.core.transaction import Transaction
from shared.meetings.errors import MeetingNotFound
from shared.participants.errors import NotInside
from shared.participants.leaving import leave
from shared.participants.standing import Standing, get_standings
from shared.runtime import Runtime
from tests.factories.world import World
from web.realtime import standings
from web.realtime.frame_types import Sender
from web.realtime.standings import STANDING_SECONDS, Standings


@pytest.fixture
def senders(app: Flask, world: World) -> Iterator[list[Sender]]:
    """Two people inside, in meetings of their own."""
    found = []
    with app.app_context():
        for _ in range(2):
            person = world.person()
            meeting_id = world.meeting(person)
            (seat,) = world.inside(meeting_id, person)
            assert person.actor is not None
            found.append(Sender(meeting_id, seat["participant_id"], person.actor))
        yield found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What was looked up, one entry for each time."""
    seen: list[set[str]] = []

    def get(tx: Transaction, ids: set[str]) -> dict[str, Standing | DomainError]:
        seen.append(set(ids))
        return get_standings(tx, ids)

    monkeypatch.setattr(standings, "get_standings", get)
    return seen


def test_it_is_looked_up_once_and_again_when_it_is_old(
    runtime: Runtime, senders: list[Sender], reads: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, sender = Standings(runtime), senders[0]
    first = kept.of(sender)
    assert first.me.id == sender.participant_id
    assert first.policy.meeting_id == sender.meeting_id
    assert kept.of(sender) is first
    later = time.monotonic() + STANDING_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert kept.of(sender) is not first
    assert reads == [{sender.participant_id}] * 2


def test_it_is_looked_up_anew_after_a_change(runtime: Runtime, senders: list[Sender], reads: list[set[str]]) -> None:
    kept, sender = Standings(runtime), senders[0]
    kept.of(sender)
    sender.renew()
    kept.of(sender)
    assert len(reads) == 2


def test_one_that_was_read_before_a_change_is_not_kept(
    runtime: Runtime, senders: list[Sender], reads: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, sender = Standings(runtime), senders[0]

    def get_slowly(tx: Transaction, ids: set[str]) -> dict[str, Standing | DomainError]:
        found = get_standings(tx, ids)
        sender.renew()  # the news comes before the answer
        return found

    monkeypatch.setattr(standings, "get_standings", get_slowly)
    kept.of(sender)
    assert sender.standing is None


def test_many_are_looked_up_at_once_each_with_an_answer_of_its_own(runtime: Runtime, senders: list[Sender]) -> None:
    here, gone = senders
    with runtime.transaction() as tx:
        leave(tx, gone.meeting_id, gone.actor)
    with runtime.reading() as tx:
        found = get_standings(tx, [here.participant_id, gone.participant_id, "nobody"])
    assert isinstance(found[here.participant_id], Standing)
    assert isinstance(found[gone.participant_id], NotInside)
    assert isinstance(found["nobody"], MeetingNotFound)
    with pytest.raises(NotInside):
        Standings(runtime).of(gone)
