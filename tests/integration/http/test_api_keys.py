"""API keys: made by people, sent by servers, good for their scopes and nothing else (contract 2, S10)."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.identity.models import api_keys, users
from shared.identity.scopes import SCOPES
from tests.factories.house import IN_HOUSE, furnish, name_of
from tests.factories.scene import UNKNOWN
from tests.factories.world import API, Answer, Person, World
from tests.integration.http.answers import check_failure, check_success, without_what_differs
from web.http.door import DOORS, Door

WITH_SCOPE = [door for door in DOORS if door.scopes]
WITHOUT_SCOPE = [door for door in DOORS if not door.scopes]
VIEW = {
    *("api_key_id", "name", "prefix", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at"),
}


def make(owner: Person, *scopes: str, **more: Any) -> dict[str, Any]:
    """Return a new key of somebody, as it is shown once."""
    return dict(check_success(owner.post("/api-keys", {"name": "Server", "scopes": list(scopes), **more}), 201))


def bearing(world: World, key: str) -> Person:
    """Return a server that sends this key."""
    return Person(world.app.test_client(), key, None)


def server(world: World, owner: Person, *scopes: str) -> Person:
    return bearing(world, make(owner, *scopes)["key"])


def change(world: World, key_id: str, **values: Any) -> None:
    """Write a state of a key that takes time to come about."""
    with world.runtime.transaction() as tx:
        tx.execute(update(api_keys).where(api_keys.c.id == key_id).values(**values))


def row_of(world: World, key_id: str) -> Any:
    with world.runtime.reading() as tx:
        return tx.first(select(api_keys).where(api_keys.c.id == key_id))


# --- making, listing, revoking --------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_of_it_only_a_digest_is_kept(world: World, host: Person):
    made = make(host, "meetings:read", "chat:write")
    assert set(made) == VIEW | {"key"}
    assert made["key"].startswith(made["prefix"] + "_")
    assert made["prefix"].startswith("pk_")
    assert len(made["key"]) - len(made["prefix"]) - 1 >= 22  # 128 bits in base64
    assert (made["scopes"], made["last_used_at"]) == (["meetings:read", "chat:write"], None)
    (listed,) = check_success(host.get("/api-keys"), is_list=True)
    assert listed == {name: value for name, value in made.items() if name != "key"}
    secret = made["key"].removeprefix(made["prefix"])
    assert secret not in repr(row_of(world, made["api_key_id"]))
    assert secret not in json.dumps(check_success(host.delete(f"/api-keys/{made['api_key_id']}")))


def test_keys_are_listed_in_pages_newest_first_and_each_sees_their_own(world: World, host: Person):
    ids = [make(host, "chat:read")["api_key_id"] for _ in range(3)]
    other = world.person()
    make(other, "chat:read")
    first = host.get("/api-keys?limit=2")
    rest = host.get(f"/api-keys?limit=2&cursor={first.body['pagination']['next_cursor']}")
    assert [k["api_key_id"] for k in (*first.data, *rest.data)] == ids[::-1]
    assert rest.body["pagination"]["next_cursor"] is None
    check_failure(host.get("/api-keys?cursor=nonsense"), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scopes": ["meetings:delete"]}, "scopes.0"),
        ({"scopes": ["chat:read", "*"]}, "scopes.1"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["chat:read", "chat:read"]}, "scopes"),
        ({"scopes": "chat:read"}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"user_id": UNKNOWN}, "user_id"),
        ({"key": "pk_mine"}, "key"),
    ],
)
def test_s30_a_key_that_is_wrong_is_not_made(world: World, host: Person, changes: dict[str, Any], field: str):
    answer = host.post("/api-keys", {"name": "Server", "scopes": ["chat:read"], **changes})
    assert list(check_failure(answer, 422, "VALIDATION_ERROR").body["details"]) == [field]
    assert host.get("/api-keys").data == []


def test_a_key_of_others_is_as_one_that_does_not_exist(world: World, host: Person):
    theirs = make(world.person(), "meetings:read")
    refused = [host.delete(f"/api-keys/{id_}") for id_ in (theirs["api_key_id"], UNKNOWN, "no id")]
    for answer in refused:
        check_failure(answer, 404, "NOT_FOUND")
        assert without_what_differs(answer) == without_what_differs(refused[0])
    assert bearing(world, theirs["key"]).get("/meetings").status == 200


def test_a_revoked_key_is_dead_at_once_and_gone_from_the_list(world: World, host: Person):
    made, other = make(host, "meetings:read"), make(host, "meetings:read")
    robot = bearing(world, made["key"])
    check_success(robot.get("/meetings"), is_list=True)
    revoked = check_success(host.delete(f"/api-keys/{made['api_key_id']}"))
    assert revoked["revoked_at"]
    check_failure(robot.get("/meetings"), 401, "TOKEN_REVOKED")
    assert check_success(host.delete(f"/api-keys/{made['api_key_id']}"))["revoked_at"] == revoked["revoked_at"]
    assert [key["api_key_id"] for key in host.get("/api-keys").data] == [other["api_key_id"]]
    assert bearing(world, other["key"]).get("/meetings").status == 200
    assert host.get("/meetings").status == 200


def test_the_same_idempotency_key_makes_one_key_and_shows_it_again(world: World, host: Person):
    once = {"headers": {"Idempotency-Key": "k1"}}
    wanted = {"name": "Server", "scopes": ["meetings:read"]}
    first, again = (host.post("/api-keys", wanted, **once) for _ in range(2))
    assert first.data == again.data
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(host.get("/api-keys").data) == 1


# --- what is no key -------------------------------------------------------------------------------------------------


def test_what_is_nobodys_key_is_401_and_tells_nothing(world: World, host: Person):
    made = make(host, *SCOPES)
    key, prefix = made["key"], made["prefix"]
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    host.delete(f"/api-keys/{made['api_key_id']}")
    nonsense = [
        "pk_",
        prefix,
        f"{prefix}_",
        f"{prefix}_{'A' * 43}",
        wrong,
        key + "A",
        key.upper(),
        f"pk_{'0' * 16}_{'A' * 43}",
    ]
    refused = [bearing(world, text).get("/meetings") for text in nonsense]
    for answer in refused:
        check_failure(answer, 401, "UNAUTHENTICATED")
    assert len({repr(without_what_differs(answer)) for answer in refused if answer is not refused[6]}) == 1
    check_failure(bearing(world, key).get("/meetings"), 401, "TOKEN_REVOKED")


def test_an_expired_key_says_so(world: World, host: Person):
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = make(host, "meetings:read", expires_at=soon.isoformat())
    robot = bearing(world, made["key"])
    assert robot.get("/meetings").status == 200
    past = datetime.now(UTC) - timedelta(seconds=1)
    change(world, made["api_key_id"], created_at=past - timedelta(days=1), expires_at=past)
    check_failure(robot.get("/meetings"), 401, "TOKEN_EXPIRED")
    check_failure(robot.post("/meetings", {"title": "A"}), 401, "TOKEN_EXPIRED")


def test_s7_the_keys_of_a_closed_account_are_dead(world: World, host: Person):
    robot = server(world, host, "meetings:read")
    with world.runtime.transaction() as tx:
        tx.execute(update(users).where(users.c.id == host.id).values(is_active=False))
    check_failure(robot.get("/meetings"), 401, "TOKEN_REVOKED")


def test_a_key_is_looked_up_again_in_the_transaction_of_its_request(
    world: World, host: Person, monkeypatch: pytest.MonkeyPatch
):
    made = make(host, "meetings:write")
    check = Door._check_scopes

    def revoked_meanwhile(self: Door, claims: Any) -> None:
        check(self, claims)
        change(world, made["api_key_id"], revoked_at=datetime.now(UTC))

    monkeypatch.setattr(Door, "_check_scopes", revoked_meanwhile)
    check_failure(bearing(world, made["key"]).post("/meetings", {"title": "Late"}), 401, "TOKEN_REVOKED")
    monkeypatch.undo()
    assert host.get("/meetings").data == []


# --- scopes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", WITH_SCOPE, ids=name_of)
def test_s10_without_its_scope_a_key_gets_nothing_and_with_it_what_its_owner_gets(world: World, door: Door):
    house = furnish(world)
    host = house.people["host"]
    robots = {scope: server(world, host, *(set(SCOPES) - {scope})) for scope in door.scopes}
    lonely = server(world, host, *door.scopes)
    request, before = house.request(door, "host"), house.state()
    for scope, robot in robots.items():
        answer = check_failure(robot.call(*request), 403, "INSUFFICIENT_SCOPE")
        assert answer.body["details"]["required"] == list(door.scopes)
        assert set(answer.body["details"]["granted"]) == set(SCOPES) - {scope}
    assert house.state() == before
    answer = lonely.call(*request)
    assert answer.status not in (401, 403, 404, 405, 415, 422, 429, 500, 503), answer.body


def test_s32b_a_key_with_one_scope_is_refused_wherever_another_is_needed(world: World):
    house = furnish(world)
    requests = [(door, house.request(door, "host")) for door in WITH_SCOPE]
    before = house.state()
    for scope in SCOPES:
        robot = server(world, house.people["host"], scope)
        for door, request in requests:
            if door.scopes != (scope,):
                check_failure(robot.call(*request), 403, "INSUFFICIENT_SCOPE")
    assert house.state() == before


@pytest.mark.parametrize("door", WITHOUT_SCOPE, ids=name_of)
def test_s10_accounts_keys_and_sockets_are_for_people(world: World, door: Door):
    house = furnish(world)
    host = house.people["host"]
    made = make(host, *SCOPES)
    method, path, body = house.request(door, "host")
    path = path.replace("<api_key_id>", made["api_key_id"])
    answer = check_failure(bearing(world, made["key"]).call(method, path, body), 403, "INSUFFICIENT_PERMISSION")
    assert answer.body["details"]["rule"] == "api_key"
    assert [key["api_key_id"] for key in host.get("/api-keys").data] == [made["api_key_id"]]
    assert host.get("/auth/me").status == 200
    check_failure(bearing(world, made["key"] + "x").call(method, path, body), 401, "UNAUTHENTICATED")


def test_s10_a_token_is_no_key_and_a_guest_makes_none(world: World):
    house = furnish(world)
    jwt = house.people["host"].token or ""
    check_failure(bearing(world, "pk_" + jwt).get("/meetings"), 401, "UNAUTHENTICATED")
    check_failure(house.people["guest"].get("/api-keys"), 401, "UNAUTHENTICATED")
    check_failure(world.nobody().post("/api-keys", {"name": "A", "scopes": ["chat:read"]}), 401, "UNAUTHENTICATED")


def test_every_door_of_the_house_is_one_or_the_other():
    assert {door.path for door in WITHOUT_SCOPE if door in IN_HOUSE} == {f"{API}/meetings/<meeting_id>/ws-ticket"}


# --- acting as the owner --------------------------------------------------------------------------------------------


def test_a_key_acts_as_its_owner_with_the_roles_that_the_owner_has(world: World, host: Person):
    robot = server(world, host, *SCOPES)
    made = robot.post("/meetings", {"title": "By a server"}).data
    assert made["host"]["user_id"] == host.id
    meeting = f"/meetings/{made['meeting_id']}"
    assert robot.post(f"{meeting}/start").data["started_by"] == host.id
    seat = robot.post(f"{meeting}/join").data
    assert (seat["user_id"], seat["role"], "guest_token" in seat) == (host.id, "host", False)
    assert host.post(f"{meeting}/join").data["participant_id"] == seat["participant_id"]
    assert (
        robot.post(f"{meeting}/chat", {"content": "hi", "message_type": "text"}).data["sender_id"]
        == seat["participant_id"]
    )
    token = robot.post(f"{meeting}/token").data
    assert token["identity"] != host.id
    stranger = server(world, world.person(), *SCOPES)
    check_failure(stranger.get(meeting), 404, "MEETING_NOT_FOUND")
    ann = world.person()
    ann.post(f"{meeting}/join")
    check_failure(server(world, ann, *SCOPES).post(f"{meeting}/end"), 403, "INSUFFICIENT_PERMISSION")


def test_the_same_idempotency_key_of_owner_and_key_is_one_request(world: World, host: Person):
    once: dict[str, Any] = {"headers": {"Idempotency-Key": "shared"}}
    first = host.post("/meetings", {"title": "A"}, **once)
    again = server(world, host, "meetings:write").post("/meetings", {"title": "A"}, **once)
    assert again.data == first.data
    reader = server(world, host, "meetings:read").post("/meetings", {"title": "A"}, **once)
    check_failure(reader, 403, "INSUFFICIENT_SCOPE")


def test_the_last_use_is_noted_and_not_at_every_use(world: World, host: Person):
    made = make(host, "meetings:read")
    robot, id_ = bearing(world, made["key"]), made["api_key_id"]
    before = datetime.now(UTC) - timedelta(seconds=1)
    robot.get("/meetings")
    first = row_of(world, id_).last_used_at
    assert before <= first <= datetime.now(UTC)
    robot.get("/meetings")
    assert row_of(world, id_).last_used_at == first
    change(world, id_, last_used_at=first - timedelta(minutes=11))
    robot.get("/meetings")
    assert row_of(world, id_).last_used_at > first
    (listed,) = host.get("/api-keys").data
    assert listed["last_used_at"]


def test_a_key_counts_against_the_limits_of_its_owner(make_world: Callable[..., World]):
    world = make_world(ratelimit_enabled=True, ratelimit_meetings="4/minute")
    host = world.person()
    robots = [server(world, host, "meetings:write") for _ in range(2)]  # two of the four
    answers: list[Answer] = [one.post("/meetings", {"title": "A"}) for one in (host, *robots)]
    assert [answer.status for answer in answers] == [201, 201, 429]
    check_failure(host.post("/meetings", {"title": "A"}), 429, "RATE_LIMIT_EXCEEDED")
    assert server(world, world.person(), "meetings:write").post("/meetings", {"title": "A"}).status == 201
