"""The tuner: what the database says at that moment is what a socket may hear."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from shared.core.errors import ServiceUnavailable
from shared.core.streams import meeting_stream, personal_stream
from shared.runtime import Runtime
from tests.factories.scene import Scene, change_place
from tests.unit.web.realtime.wire import Peer, wait_for
from web.realtime.hub import Hub
from web.realtime.recovery import Recovery
from web.realtime.tuner import Tuner


class Place:
    """Somebody inside a meeting, whose socket hears nothing but their own stream yet."""

    def __init__(self, runtime: Runtime, held: ExitStack) -> None:
        scene = Scene(runtime)
        host = scene.user()
        self.runtime = runtime
        self.meeting_id = scene.meeting(host)
        self.key = meeting_stream(self.meeting_id)
        self.id = scene.join(self.meeting_id, scene.user()).participant.id
        self.hub = Hub(lambda *_: None)
        self.recovery = Recovery(runtime, self.hub)
        self.tuner = Tuner(runtime, self.hub, self.recovery)
        self.peer = held.enter_context(Peer(self.meeting_id, self.id))
        assert self.hub.add(self.peer.connection)
        self.recovery.subscribe(self.peer.connection, personal_stream(self.id), 0)

    @property
    def heard(self) -> set[str]:
        return set(self.peer.connection.topics)


@pytest.fixture
def place(runtime: Runtime) -> Iterator[Place]:
    with ExitStack() as held:
        yield Place(runtime, held)


def test_who_may_hear_a_stream_hears_it_from_the_number_on(place: Place) -> None:
    place.tuner.tune(place.peer.connection, place.key, 1)
    assert place.heard == {place.key, personal_stream(place.id)}
    place.tuner.tune(place.peer.connection, place.key, 0)  # again: nothing comes twice
    assert [frame["seq"] for frame in place.peer.read()] == [2]


@pytest.mark.parametrize("status", ["waiting", "removed", "denied", "left"])
def test_who_may_not_any_more_hears_nothing(place: Place, status: str) -> None:
    change_place(place.runtime, place.id, status=status)
    place.tuner.tune(place.peer.connection, place.key, 0)
    assert place.heard == {personal_stream(place.id)}


def test_a_right_that_ends_while_it_is_granted_is_taken_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe = place.recovery.subscribe

    def then_it_ends(*given: object) -> None:
        change_place(place.runtime, place.id, status="removed")
        place.peer.connection.sender.renew()
        subscribe(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(place.recovery, "subscribe", then_it_ends)
    place.tuner.tune(place.peer.connection, place.key, 0)
    assert place.heard == {personal_stream(place.id)}


def test_a_socket_that_is_gone_is_left_alone(place: Place) -> None:
    place.hub.remove(place.peer.connection)
    place.tuner.tune(place.peer.connection, place.key, 0)
    assert place.hub.topics == {}


def test_it_tries_again_when_the_database_is_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.realtime.tuner.RETRY_SECONDS", 0.05)
    tune, tries = place.tuner.tune, []

    def fails_twice(*given: object) -> None:
        tries.append(given)
        if len(tries) < 3:
            raise ServiceUnavailable
        tune(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(place.tuner, "tune", fails_twice)
    place.tuner.add(place.peer.connection, place.key, 0)
    wait_for(lambda: place.key in place.heard)
    assert len(tries) == 3


def test_what_changed_while_somebody_was_shown_in_is_taken_back(place: Place) -> None:
    connection = place.peer.connection
    place.tuner.tune(connection, place.key, 0)
    renewals = connection.sender.renewals
    change_place(place.runtime, place.id, status="waiting")
    place.tuner.take_back(connection, renewals)
    assert place.key in place.heard  # no event told of it yet
    connection.sender.renew()
    place.tuner.take_back(connection, renewals)
    assert place.heard == {personal_stream(place.id)}
