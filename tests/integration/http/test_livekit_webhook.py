"""LiveKit's own door: who may come through, what is kept, and that nothing else follows at once (S5, S110, S111)."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Row

from shared.core import outbox
from shared.core.ids import new_id
from shared.core.settings import Settings
from shared.livekit.jobs import HandleEvent
from shared.livekit.models import inbox
from shared.runtime import Runtime
from tests.factories.world import API, Answer, Person, World
from tests.fakes.livekit_webhook import event, headers, signature
from tests.integration.http.answers import check_failure, check_success

PATH = f"{API}/livekit/webhook"


def deliver(http: FlaskClient, body: bytes, sent: dict[str, str]) -> Answer:
    response = http.post(PATH, data=body, headers=sent)
    return Answer(response.status_code, response.get_json(silent=True), response.headers)


def fresh(kind: str = "participant_left") -> tuple[str, bytes]:
    """Return the id of a new event about a room of nobody's, and its body."""
    id_ = f"EV_{new_id()}"
    return id_, event(kind, new_id(), "ann", id_=id_)


def stored(runtime: Runtime, id_: str) -> list[Row[Any]]:
    with runtime.reading() as tx:
        return list(tx.all(inbox.select().where(inbox.c.id == id_)))


def jobs(runtime: Runtime, id_: str) -> int:
    with runtime.reading() as tx:
        rows = tx.all(outbox.outbox.select().where(outbox.outbox.c.name == HandleEvent.name))
    return sum(row.payload == {"event_id": id_} for row in rows)


@pytest.mark.parametrize("kind", ["participant_left", "room_finished", "something_new"])
def test_a_signed_event_is_stored_with_its_job_whatever_it_is(
    http: FlaskClient, runtime: Runtime, settings: Settings, kind: str
) -> None:
    id_, body = fresh(kind)
    assert check_success(deliver(http, body, headers(settings, body))) == {"event_id": id_}
    (row,) = stored(runtime, id_)
    assert (row.type, row.body) == (kind, body.decode())
    assert jobs(runtime, id_) == 1


def test_s111_an_event_that_comes_again_and_again_is_one_event(
    http: FlaskClient, runtime: Runtime, settings: Settings, world: World
) -> None:
    id_, body = fresh()
    again = headers(settings, body)

    def once_more(_: int) -> int:
        return deliver(world.app.test_client(), body, again).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(once_more, range(24))) == {200}
    assert (len(stored(runtime, id_)), jobs(runtime, id_)) == (1, 1)


def test_the_same_id_with_another_body_is_refused_however_well_signed(
    http: FlaskClient, runtime: Runtime, settings: Settings
) -> None:
    id_, body = fresh()
    deliver(http, body, headers(settings, body))
    other = event("participant_joined", new_id(), "eve", id_=id_)
    check_failure(deliver(http, other, headers(settings, other)), 401, "UNAUTHENTICATED")
    (row,) = stored(runtime, id_)
    assert (row.body, jobs(runtime, id_)) == (body.decode(), 1)
    assert deliver(http, body, headers(settings, body)).status == 200


def now() -> int:
    return int(time.time())


FORGERIES: dict[str, Any] = {
    "another secret": lambda: {"secret": "x" * 40},
    "another key": lambda: {"iss": "otherkey"},
    "no key": lambda: {"iss": None},
    "another body": lambda: {"sha256": "c29tZXRoaW5nIGVsc2U="},
    "no hash": lambda: {"sha256": None},
    "a hash that is none": lambda: {"sha256": "ü"},
    "a hash that is no text": lambda: {"sha256": 7},
    "expired": lambda: {"exp": now() - 61},
    "without an end": lambda: {"exp": None},
    "from the future": lambda: {"nbf": now() + 120},
}


@pytest.mark.parametrize("why", FORGERIES)
def test_s110_a_forged_event_is_refused_and_not_kept(
    http: FlaskClient, runtime: Runtime, settings: Settings, why: str
) -> None:
    id_, body = fresh()
    check_failure(deliver(http, body, headers(settings, body, **FORGERIES[why]())), 401, "UNAUTHENTICATED")
    assert stored(runtime, id_) == []


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "nonsense", "a.b.c", "ünïcode", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJkZXZrZXkifQ."]
)
def test_s110_what_is_no_signature_is_refused(
    http: FlaskClient, runtime: Runtime, settings: Settings, sent: str
) -> None:
    id_, body = fresh()
    wrong = {**headers(settings, body), "Authorization": sent}
    check_failure(deliver(http, body, wrong), 401, "UNAUTHENTICATED")
    prefixed = {**wrong, "Authorization": f"Bearer {signature(settings, body)}"}
    check_failure(deliver(http, body, prefixed), 401, "UNAUTHENTICATED")
    assert stored(runtime, id_) == []


def test_s5_tokens_of_other_doors_do_not_open_this_one_nor_this_ones_theirs(
    http: FlaskClient, runtime: Runtime, settings: Settings, world: World, host: Person
) -> None:
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    media = host.post(f"/meetings/{meeting_id}/token").data["token"]
    ticket = host.post(f"/meetings/{meeting_id}/ws-ticket").data["ticket"]
    id_, body = fresh()
    for token in (host.token, f"Bearer {host.token}", media, f"Bearer {media}", ticket):
        sent = {**headers(settings, body), "Authorization": str(token)}
        check_failure(deliver(http, body, sent), 401, "UNAUTHENTICATED")
    assert stored(runtime, id_) == []
    livekits = Person(http, signature(settings, body), None)
    check_failure(livekits.get("/auth/me"), 401, "UNAUTHENTICATED")


def test_s110_a_body_that_is_too_large_or_packed_is_refused(http: FlaskClient, settings: Settings) -> None:
    large = b'{"id": "EV_1", "event": "' + b"x" * (1024 * 1024) + b'"}'
    check_failure(deliver(http, large, headers(settings, large)), 413, "PAYLOAD_TOO_LARGE")
    packed = b"\x1f\x8b\x08\x00" + b"x" * 40
    sent = {**headers(settings, packed), "Content-Encoding": "gzip"}
    check_failure(deliver(http, packed, sent), 401, "UNAUTHENTICATED")


def test_another_content_type_is_refused_only_to_whom_signed(
    http: FlaskClient, runtime: Runtime, settings: Settings
) -> None:
    id_, body = fresh()
    text = {**headers(settings, body), "Content-Type": "text/plain"}
    check_failure(deliver(http, body, text), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert stored(runtime, id_) == []
    check_failure(deliver(http, body, {**text, "Authorization": "nonsense"}), 401, "UNAUTHENTICATED")


def test_no_limit_loses_an_event(make_world: Any, settings: Settings) -> None:
    counted = make_world(ratelimit_enabled=True, ratelimit_participants="1/hour", ratelimit_reads="1/hour")
    client = counted.app.test_client()
    for _ in range(5):
        _, body = fresh()
        assert deliver(client, body, headers(settings, body)).status == 200
