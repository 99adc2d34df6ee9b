"""What counts as LiveKit's word, and what is read from it."""

from dataclasses import replace

import pytest
from livekit import api

from shared.core.settings import Settings
from shared.livekit.webhooks import NotFromLiveKit, read, verify
from tests.fakes.livekit_webhook import event, signature


def test_what_is_signed_here_is_what_livekits_own_receiver_takes(settings: Settings) -> None:
    body = event("participant_joined", "room", "ann", sources=["camera", "screen_share"])
    token = signature(settings, body)
    theirs = api.WebhookReceiver(api.TokenVerifier(settings.livekit_api_key, settings.livekit_api_secret))
    known = theirs.receive(body.decode(), token)
    ours = verify(settings, body, token)
    assert (ours.id, ours.type, ours.room, ours.identity) == (
        known.id,
        known.event,
        known.room.name,
        known.participant.identity,
    )
    assert ours.sources == frozenset({"camera", "screen_share"})
    assert ours.body == body.decode()


def test_an_event_that_does_not_say_what_may_be_published_leaves_it_open() -> None:
    assert read(event("participant_joined", "room", "ann")).sources is None
    assert read(event("participant_joined", "room", "ann", sources=[])).sources is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"id": "EV_1"}',
        b'{"id": 1, "event": "room_started"}',
        b'{"id": "EV_\\u0000", "event": "room_started"}',
        b'{"id": "' + b"x" * 65 + b'", "event": "room_started"}',
        b"[" * 200_000,
    ],
)
def test_what_is_no_event_is_refused_whoever_signed_it(settings: Settings, body: bytes) -> None:
    with pytest.raises(NotFromLiveKit):
        verify(settings, body, signature(settings, body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "EV_1", "event": "x", "room": null, "participant": 7}',
        b'{"id": "EV_1", "event": "x", "room": {"name": "a\\u0000b"}, "participant": {"identity": "\\ud800"}}',
        b'{"id": "EV_1", "event": "x", "room": {"name": "' + b"r" * 257 + b'"}, "participant": {"identity": []}}',
    ],
)
def test_names_that_cannot_be_ours_are_none(body: bytes) -> None:
    report = read(body)
    assert (report.room, report.identity, report.sources) == ("", "", None)


def test_nothing_is_livekits_where_there_is_none(settings: Settings) -> None:
    body = event("room_started", "room", "")
    without = replace(settings, livekit_url="", livekit_api_key="", livekit_api_secret="")
    with pytest.raises(NotFromLiveKit):
        verify(without, body, signature(settings, body))
