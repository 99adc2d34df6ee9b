"""Webhooks over HTTP: who may make them, what they show, where they may lead (contract 10; S107, S114, S121)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from shared.core import ledger
from shared.core.ids import new_id
from shared.core.streams import meeting_stream
from shared.webhooks.endpoints import MOST
from shared.webhooks.models import deliveries, endpoints
from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success, without_what_differs

URL = "https://203.0.114.7/hook"  # an address on the Internet, so that no name is looked up
VIEW = {
    *("webhook_id", "url", "events", "description", "meeting_id", "is_enabled", "failing_since", "next_attempt_at"),
    *("previous_secret_until", "created_at"),
}
WANTED = {"url": URL, "events": ["meeting.started", "chat.message"]}


def make(owner: Person, **changes: Any) -> dict[str, Any]:
    return dict(check_success(owner.post("/webhooks", {**WANTED, **changes}), 201))


def requests_for(person: Person, webhook_id: str, meeting_id: str = UNKNOWN) -> list[Answer]:
    """Ask every door of a webhook."""
    path = f"/webhooks/{webhook_id}"
    return [
        person.get(path),
        person.patch(path, {"description": "mine"}),
        person.get(f"{path}/deliveries"),
        person.post(f"{path}/replay", {"from_seq": 1, "meeting_id": meeting_id}),
        person.post(f"{path}/test"),
        person.post(f"{path}/rotate-secret"),
        person.delete(path),
    ]


def test_a_webhook_is_made_read_changed_and_deleted(world: World, host: Person):
    made = make(host, description="For the lobby")
    assert set(made) == VIEW | {"secret"}
    assert made["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert (shown["is_enabled"], shown["meeting_id"], shown["failing_since"]) == (True, None, None)
    path = f"/webhooks/{made['webhook_id']}"
    assert check_success(host.get(path)) == shown
    assert check_success(host.get("/webhooks"), is_list=True) == [shown]
    changed = check_success(host.patch(path, {"events": ["meeting.ended"], "is_enabled": False, "description": None}))
    assert changed == {**shown, "events": ["meeting.ended"], "is_enabled": False, "description": None}
    assert check_success(host.patch(path, {})) == changed
    assert check_success(host.delete(path)) == changed
    check_failure(host.get(path), 404, "NOT_FOUND")
    assert host.get("/webhooks").data == []


def test_s114_the_secret_is_shown_when_it_is_made_and_never_again(world: World, host: Person):
    made = make(host)
    path = f"/webhooks/{made['webhook_id']}"
    rotated = check_success(host.post(f"{path}/rotate-secret"))
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"]
    told = [host.get(path), host.get("/webhooks"), host.patch(path, {"description": "x"}), host.post(f"{path}/test")]
    with world.runtime.reading() as tx:
        kept = repr(tx.all(select(endpoints)))
    for secret in (made["secret"], rotated["secret"]):
        assert secret.removeprefix("whsec_") not in json.dumps([answer.body for answer in told]) + kept


def test_the_webhooks_of_others_are_as_those_that_do_not_exist(world: World, host: Person):
    theirs = make(world.person())
    answers = [requests_for(host, id_) for id_ in (theirs["webhook_id"], UNKNOWN, "no-id")]
    for same in zip(*answers, strict=True):
        for answer in same:
            check_failure(answer, 404, "NOT_FOUND")
            assert without_what_differs(answer) == without_what_differs(same[0])


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000/", "http://localhost/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/"),
        *("http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "http://[64:ff9b::a9fe:a9fe]/"),
        *(
            "file:///etc/passwd",
            "gopher://203.0.114.7/",
            "http://ok@203.0.114.7/",
            "https://203.0.114.7/#x",
            "nonsense",
        ),
        *("https://①②⑦.0.0.1/", "https://example.com/\u2603", "https://" + "a" * 2001, ""),
    ],
)
def test_s107_a_url_that_leads_inward_is_refused_when_it_is_set(world: World, host: Person, url: str):
    refused = check_failure(host.post("/webhooks", {**WANTED, "url": url}), 422, "VALIDATION_ERROR")
    assert list(refused.body["details"]) == ["url"]
    made = make(host)
    refused = check_failure(host.patch(f"/webhooks/{made['webhook_id']}", {"url": url}), 422, "VALIDATION_ERROR")
    assert list(refused.body["details"]) == ["url"]
    assert [one["url"] for one in host.get("/webhooks").data] == [URL]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"events": []}, "events"),
        ({"events": ["meeting.exploded"]}, "events.0"),
        ({"events": ["chat.message", "chat.message"]}, "events"),
        ({"events": "chat.message"}, "events"),
        ({"description": "x" * 501}, "description"),
        ({"secret": "whsec_mine"}, "secret"),
        ({"user_id": UNKNOWN}, "user_id"),
        ({"url": None}, "url"),
    ],
)
def test_a_webhook_that_is_wrong_is_not_made(world: World, host: Person, changes: dict[str, Any], field: str):
    answer = host.post("/webhooks", {**WANTED, **changes})
    assert list(check_failure(answer, 422, "VALIDATION_ERROR").body["details"]) == [field]
    assert host.get("/webhooks").data == []


def test_private_addresses_are_taken_where_the_setting_says_so(make_world: Callable[..., World]):
    world = make_world(webhook_allow_private=True)
    assert make(world.person(), url="http://127.0.0.1:9000/hook")["url"] == "http://127.0.0.1:9000/hook"


def test_a_webhook_for_one_meeting_is_made_by_its_host_alone(world: World, host: Person):
    meeting_id = world.meeting(host)
    deputy, outsider = co_host(world, meeting_id), world.person()
    assert make(host, meeting_id=meeting_id)["meeting_id"] == meeting_id
    wanted = {**WANTED, "meeting_id": meeting_id}
    refused = check_failure(deputy.post("/webhooks", wanted), 403, "INSUFFICIENT_PERMISSION")
    assert refused.body["details"]["rule"] == "webhooks.subscribe"
    check_failure(outsider.post("/webhooks", wanted), 404, "MEETING_NOT_FOUND")
    check_failure(host.post("/webhooks", {**WANTED, "meeting_id": UNKNOWN}), 404, "MEETING_NOT_FOUND")


def test_a_replay_is_for_hosts_and_for_events_that_exist(world: World, host: Person):
    meeting_id, other = world.meeting(host), world.meeting(host)
    made = make(host)
    path = f"/webhooks/{made['webhook_id']}/replay"
    told = check_success(host.post(path, {"meeting_id": meeting_id, "from_seq": 1}), 202)
    assert told == {"webhook_id": made["webhook_id"], "meeting_id": meeting_id, "from_seq": 1, "to_seq": 1}
    for from_seq in (0, 2, 2**53 - 1, "1"):
        refused = check_failure(
            host.post(path, {"meeting_id": meeting_id, "from_seq": from_seq}), 422, "VALIDATION_ERROR"
        )
        assert list(refused.body["details"]) == ["from_seq"]
    check_failure(host.post(path, {"meeting_id": UNKNOWN, "from_seq": 1}), 404, "MEETING_NOT_FOUND")
    theirs = world.meeting(world.person())
    check_failure(host.post(path, {"meeting_id": theirs, "from_seq": 1}), 404, "MEETING_NOT_FOUND")
    deputy = co_host(world, meeting_id)
    mine = make(deputy)["webhook_id"]
    wanted = {"meeting_id": meeting_id, "from_seq": 1}
    check_failure(deputy.post(f"/webhooks/{mine}/replay", wanted), 403, "INSUFFICIENT_PERMISSION")
    alone = make(host, meeting_id=meeting_id)["webhook_id"]
    refused = check_failure(
        host.post(f"/webhooks/{alone}/replay", {"meeting_id": other, "from_seq": 1}), 422, "VALIDATION_ERROR"
    )
    assert list(refused.body["details"]) == ["meeting_id"]


@pytest.mark.postgres_only
def test_a_replay_does_not_wait_for_those_who_speak(world: World, host: Person):
    """Whoever changes a role has locked what a replay wants, and then wants the stream (docs/adr/0018)."""
    made, meeting_id = make(host), world.meeting(host)
    with world.runtime.transaction() as tx:
        ledger.hold(tx.connection, [meeting_stream(meeting_id)])
        check_success(
            host.post(f"/webhooks/{made['webhook_id']}/replay", {"meeting_id": meeting_id, "from_seq": 1}), 202
        )


def test_deliveries_are_listed_in_pages_newest_first_by_state_and_meeting(world: World, host: Person):
    fired = check_success(host.post(f"/webhooks/{make(host)['webhook_id']}/test"), 202)
    assert (fired["event"], fired["state"], fired["seq"], fired["attempts"]) == ("webhook.test", "pending", None, 0)
    made = make(host, events=["chat.message"])  # which nobody writes: a worker has nothing to tell it
    path = f"/webhooks/{made['webhook_id']}"
    meeting_id = world.meeting(host)
    with world.runtime.transaction() as tx:
        test = {"endpoint_id": made["webhook_id"], "event": "webhook.test", "state": "pending", "attempts": 0}
        tx.execute(insert(deliveries).values(id=new_id(), created_at=tx.now, **test))  # of which no worker knows
        for seq, state in ((1, "delivered"), (2, "dead")):
            row = {"endpoint_id": made["webhook_id"], "meeting_id": meeting_id, "seq": seq, "state": state}
            tx.execute(
                insert(deliveries).values(id=new_id(), event="chat.message", attempts=1, created_at=tx.now, **row)
            )
    first = host.get(f"{path}/deliveries?limit=2")
    rest = host.get(f"{path}/deliveries?limit=2&cursor={first.body['pagination']['next_cursor']}")
    listed = [*check_success(first, is_list=True), *check_success(rest, is_list=True)]
    assert {row["state"] for row in listed} == {"pending", "delivered", "dead"}
    assert [row["delivery_id"] for row in listed] == sorted((row["delivery_id"] for row in listed), reverse=True)
    assert [row["seq"] for row in host.get(f"{path}/deliveries?state=dead").data] == [2]
    assert {row["seq"] for row in host.get(f"{path}/deliveries?meeting_id={meeting_id}").data} == {1, 2}
    assert host.get(f"{path}/deliveries?meeting_id={UNKNOWN}").data == []
    check_failure(host.get(f"{path}/deliveries?state=lost"), 422, "VALIDATION_ERROR")


def test_s121_there_is_a_limit_of_webhooks(world: World, host: Person):
    row = {"user_id": host.id, "url": URL, "events": ["chat.message"], "is_enabled": True, "secret": "x"}
    with world.runtime.transaction() as tx:
        for _ in range(MOST - 1):
            tx.execute(insert(endpoints).values(id=new_id(), failures=0, created_at=tx.now, **row))
    last = make(host)
    refused = check_failure(host.post("/webhooks", WANTED), 403, "WEBHOOK_LIMIT_REACHED")
    assert refused.body["details"] == {"limit": MOST}
    check_success(host.delete(f"/webhooks/{last['webhook_id']}"))
    make(host)


def test_an_api_key_needs_the_scope_and_a_guest_has_no_webhooks(world: World, host: Person):
    def server(*scopes: str) -> Person:
        key = host.post("/api-keys", {"name": "Server", "scopes": list(scopes)}).data["key"]
        return Person(world.app.test_client(), key, None)

    made = make(server("webhooks:write"))
    assert [one["webhook_id"] for one in host.get("/webhooks").data] == [made["webhook_id"]]
    narrow = server("meetings:write", "chat:read")
    for answer in (narrow.post("/webhooks", WANTED), *requests_for(narrow, made["webhook_id"])):
        check_failure(answer, 403, "INSUFFICIENT_SCOPE")
    check_failure(world.nobody().post("/webhooks", WANTED), 401, "UNAUTHENTICATED")


def test_the_same_idempotency_key_makes_one_webhook(world: World, host: Person):
    first, again = (host.post("/webhooks", WANTED, headers={"Idempotency-Key": "w1"}) for _ in range(2))
    assert first.data == again.data
    assert len(host.get("/webhooks").data) == 1
