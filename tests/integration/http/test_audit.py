"""The audit trail over HTTP: every act leaves its row, every refusal too, and a host can check them (contract 6)."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from shared.audit.models import audit_events
from shared.core.ids import new_id
from shared.models import METADATA
from tests.factories.scene import UNKNOWN
from tests.factories.world import Person, World
from tests.integration.http.acts import ACTS, SECRET, House
from tests.integration.http.answers import check_failure, check_success
from web.http.pagination import encode_cursor

Row = dict[str, Any]
AUDIT = {"audit_events", "audit_heads"}


def trail(host: Person, meeting_id: str, **filters: Any) -> list[Row]:
    path = f"/meetings/{meeting_id}/security/events"
    return list(check_success(host.get(path, query_string={"limit": 200, **filters}), is_list=True))


def counts(world: World, meeting_id: str) -> dict[str, Any]:
    """Return of the meeting all rows of all tables but the audit trail's, and of that one the number."""
    with world.runtime.reading() as tx:
        state: dict[str, Any] = {
            name: sorted(map(repr, tx.all(select(table).where(table.c.meeting_id == meeting_id))))
            for name, table in METADATA.tables.items()
            if "meeting_id" in table.c and name not in AUDIT
        }
        rows = select(func.count()).select_from(audit_events).where(audit_events.c.meeting_id == meeting_id)
        return {**state, "audit": tx.scalar(rows)}


@pytest.fixture
def house(world: World) -> House:
    return House(world)


@pytest.mark.parametrize("name", ACTS)
def test_p22_an_act_leaves_exactly_its_rows(world: World, name: str) -> None:
    act = ACTS[name]
    house = House(world, start=act.starts)
    if act.setting is not None:
        act.setting(house)
    before = trail(house.host, house.id)
    answer = act.do(house)
    assert answer.status == act.status, answer.body
    rows = trail(house.host, house.id)
    assert rows[: len(before)] == before
    new = rows[len(before) :]
    assert [(row["kind"], row["outcome"], row["target"]["name"]) for row in new] == act.rows
    assert all(row["actor"]["name"] for row in new)


def test_p22_forty_and_more_kinds_of_acts_are_told_of() -> None:
    told = {name: {outcome for _, outcome, _ in act.rows} for name, act in ACTS.items() if act.rows}
    assert len(told) >= 40
    assert min(list(told.values()).count({outcome}) for outcome in ("done", "refused")) >= 20


REFUSED = [name for name, act in ACTS.items() if act.status in (403, 404) and act.rows and "message" not in name]


@pytest.mark.parametrize("name", REFUSED)
def test_s27_a_refused_act_leaves_its_refused_row_and_nothing_else(world: World, name: str) -> None:
    act = ACTS[name]
    house = House(world)
    if act.setting is not None:
        act.setting(house)
    before = counts(world, house.id)
    act.do(house)
    after = counts(world, house.id)
    if "passcode" in name:
        assert len(after.pop("passcode_attempts")) == 2  # it is counted, for the person and for the address
        before.pop("passcode_attempts")
    assert after == {**before, "audit": before["audit"] + 1}


def test_a_row_says_who_did_what_to_whom_and_why(house: House) -> None:
    house.deputy.post(house.of("ann", "/remove"), {"reason": "noise"})
    (row,) = trail(house.host, house.id, kind="participants.remove")
    assert row["actor"] == {
        "participant_id": house.seats["deputy"],
        "user_id": house.deputy.id,
        "name": "Deputy",
    }
    assert row["target"] == {"participant_id": house.seats["ann"], "user_id": house.ann.id, "name": "Ann"}
    assert (row["outcome"], row["details"]) == ("done", {"reason": "noise"})
    house.host.patch(house.of("deputy"), {"role": "attendee", "can_chat": False})
    (row,) = trail(house.host, house.id, kind="participants.change_role")
    assert row["details"]["changes"] == {
        "role": {"from": "co-host", "to": "attendee"},
        "can_chat": {"from": True, "to": False},
    }
    house.stranger.get(house.path("/chat"))
    (row,) = trail(house.host, house.id, outcome="refused")
    assert row["actor"] == {"participant_id": None, "user_id": house.stranger.id, "name": "Stranger"}
    assert row["details"] == {"operation": "GET /meetings/<meeting_id>/chat", "code": "MEETING_NOT_FOUND"}


def test_a_co_host_without_an_account_is_named_too(house: House) -> None:
    house.guest()
    house.host.patch(house.of("gus"), {"role": "co-host"})
    house.gus.patch(house.of("ann"), {"is_muted": True})
    house.gus.post(house.path("/end"))
    muted, ended = trail(house.host, house.id)[-2:]
    assert (muted["kind"], ended["kind"]) == ("participants.moderate", "meeting.end")
    assert muted["actor"] == ended["actor"] == {"participant_id": house.seats["gus"], "user_id": None, "name": "Gus"}


def test_a_ban_that_spreads_over_a_series_is_in_the_trail_of_each_of_its_meetings(world: World, house: House) -> None:
    second = world.meeting(house.host, series_of=house.id)
    house.host.post(house.of("ann", "/remove"), {"ban": True})
    third = world.meeting(house.host, series_of=house.id)
    for meeting_id, details in ((house.id, {}), (second, {"from_series": True}), (third, {"from_series": True})):
        (row,) = trail(house.host, meeting_id, kind="participants.ban")
        assert (row["actor"]["user_id"], row["target"]["user_id"]) == (house.host.id, house.ann.id)
        assert row["details"] == details


def test_those_invited_are_told_of_and_addresses_are_not(world: World) -> None:
    host, ann = world.person(), world.person("Ann")
    unknown = f"{new_id().lower()}@example.com"
    meeting_id = world.meeting(host, start=False, invitees=[ann.email, unknown])
    rows = trail(host, meeting_id, kind="participants.invite")
    assert [(row["target"]["name"], row["details"]["has_account"]) for row in rows] == [("Ann", True), (None, False)]


def test_the_trail_tells_no_passcode_no_address_no_token_and_nothing_that_was_said(house: House) -> None:
    house.guest()
    house.message(house.ann)
    house.host.patch(
        house.path("/security/policy"),
        {"require_password": True, "passcode": SECRET, "custom_settings": {"note": "top secret"}},
    )
    house.stranger.post(house.path("/join"), {"passcode": "wrong guess"})
    house.host.post(house.path("/waiting-room/message"), {"text": "soon enough"})
    house.host.delete(house.message(house.ann))
    text = json.dumps(trail(house.host, house.id))
    for secret in (SECRET, "hash_", "top secret", "wrong guess", "soon enough", "hello", house.gus.token, "@", "eyJ"):
        assert str(secret) not in text
    (row,) = trail(house.host, house.id, kind="policy.update")
    assert row["details"] == {
        "version": 2,
        "changed": {"require_password": {"from": False, "to": True}, "passcode": "set", "custom_settings": "changed"},
    }


def test_whoever_reads_a_trail_can_check_it(house: House) -> None:
    house.host.patch(house.of("ann"), {"is_muted": True})
    house.ann.post(house.path("/end"))
    house.host.patch(house.path("/security/policy"), {"allowed_domains": ["corp.example"]})
    previous = "0" * 64
    rows = trail(house.host, house.id)
    assert len(rows) >= 4
    for seq, row in enumerate(rows, 1):
        assert (row["seq"], row["previous_hash"]) == (seq, previous)
        previous = row.pop("hash")
        text = json.dumps({"meeting_id": house.id, **row}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == previous


def test_pages_follow_on_each_other_and_filters_choose(house: House) -> None:
    for muted in ("ann", "deputy", "ann"):
        house.host.patch(house.of(muted), {"is_muted": True})
    house.ann.patch(house.of("deputy"), {"is_muted": True})
    rows = trail(house.host, house.id)
    paged: list[Row] = []
    cursor: dict[str, str] = {}
    while True:
        answer = house.host.get(house.path("/security/events"), query_string={"limit": 2, **cursor})
        assert len(answer.data) <= 2
        paged += answer.data
        following = answer.body["pagination"]["next_cursor"]
        if following is None:
            break
        cursor = {"cursor": following}
    assert paged == rows
    mutes = trail(house.host, house.id, kind="participants.moderate")
    assert [row["outcome"] for row in mutes] == ["done", "done", "done", "refused"]
    for whose in (house.ann.id, house.seats["ann"]):
        assert len(trail(house.host, house.id, target_id=whose)) == 2
        assert [row["outcome"] for row in trail(house.host, house.id, actor_id=whose)] == ["refused"]
    assert len(trail(house.host, house.id, outcome="refused")) == 1
    now = datetime.now(UTC)
    later, earlier = ((now + timedelta(hours=by)).isoformat() for by in (1, -1))
    assert trail(house.host, house.id, **{"from": earlier, "to": later}) == rows
    assert trail(house.host, house.id, **{"from": later}) == trail(house.host, house.id, to=earlier) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=nothing", "kind"),
        ("outcome=maybe", "outcome"),
        ("limit=0", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=YWJj", "cursor"),
        (f"cursor={encode_cursor('9' * 40)}", "cursor"),
        ("from=yesterday", "from"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_question_is_refused_naming_the_field(house: House, query: str, field: str) -> None:
    answer = house.host.get(house.path(f"/security/events?{query}"))
    assert list(check_failure(answer, 422, "VALIDATION_ERROR").body["details"]) == [field]


def test_only_hosts_read_it_also_when_the_meeting_is_over(house: House) -> None:
    check_failure(house.deputy.get(house.path("/security/events")), 403, "INSUFFICIENT_PERMISSION")
    check_failure(house.stranger.get(house.path("/security/events")), 404, "MEETING_NOT_FOUND")
    check_failure(house.host.get(f"/meetings/{UNKNOWN}/security/events"), 404, "MEETING_NOT_FOUND")
    house.host.post(house.path("/end"))
    assert trail(house.host, house.id)[-1]["kind"] == "meeting.end"


def test_an_act_that_is_replayed_is_told_of_once(house: House) -> None:
    key = {"Idempotency-Key": new_id()}
    answers = [house.host.post(house.of("ann", "/remove"), headers=key) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert len(trail(house.host, house.id, kind="participants.remove")) == 1


def test_the_same_refusal_again_within_a_minute_is_counted_not_written(house: House) -> None:
    for _ in range(20):
        house.ann.post(house.path("/end"))
        house.stranger.get(house.path(""))
    house.deputy.patch(house.path("/security/policy"), {"lock_meeting": True})
    rows = trail(house.host, house.id, outcome="refused")
    assert [row["kind"] for row in rows] == ["meeting.end", "meeting.read", "policy.update"]


def test_a_key_that_was_not_made_for_it_is_told_of_as_its_owner(house: House) -> None:
    wanted = {"name": "Server", "scopes": ["chat:read"]}
    key = Person(house.host._client, house.ann.post("/api-keys", wanted).data["key"], house.ann.actor)
    check_failure(key.get(house.path("/participants")), 403, "INSUFFICIENT_SCOPE")
    check_failure(key.post(house.path("/ws-ticket")), 403, "INSUFFICIENT_PERMISSION")
    rows = trail(house.host, house.id, outcome="refused")
    assert [(row["kind"], row["actor"]["user_id"]) for row in rows] == [
        ("participants.list", house.ann.id),
        ("meeting.listen", house.ann.id),
    ]


def test_what_was_never_a_meeting_has_no_trail(world: World) -> None:
    person = world.person()
    for id_ in (UNKNOWN, "nonsense"):
        check_failure(person.get(f"/meetings/{id_}"), 404, "MEETING_NOT_FOUND")
    with world.runtime.reading() as tx:
        assert tx.all(select(audit_events).where(audit_events.c.meeting_id.in_((UNKNOWN, "nonsense")))) == []
