"""Accounts, sessions and tokens (contract 2, S1 to S9)."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import time_machine
from sqlalchemy import update

from shared.core.ids import is_id, new_id
from shared.identity.models import users
from shared.participants.models import participants
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import account, check_failure, check_success

PASSWORD = account()["password"]


def bearing(world: World, token: str) -> Person:
    return Person(world.app.test_client(), token, None)


@pytest.fixture
def signed_in(world: World) -> dict[str, Any]:
    """What a new person gets back."""
    return dict(check_success(world.nobody().post("/auth/register", account()), 201))


# --- register, log in, me -------------------------------------------------------------------------------------------


def test_a_new_person_gets_an_account_and_tokens_that_work(world: World):
    wanted = account(name="  Ada   Lovelace ", email=f"ADA.{new_id()}@Example.COM")
    data = check_success(world.nobody().post("/auth/register", wanted), 201)
    assert set(data) == {"user", "access_token", "refresh_token", "expires_in"}
    assert data["expires_in"] == 900
    assert is_id(data["user"]["user_id"])
    me = check_success(bearing(world, data["access_token"]).get("/auth/me"))
    assert (
        me
        == data["user"]
        == {
            "user_id": data["user"]["user_id"],
            "email": wanted["email"].lower(),
            "name": "Ada Lovelace",
        }
    )


def test_an_address_has_one_account(world: World):
    wanted = account()
    check_success(world.nobody().post("/auth/register", wanted), 201)
    for email in (wanted["email"], wanted["email"].upper()):
        check_failure(world.nobody().post("/auth/register", {**wanted, "email": email}), 409, "EMAIL_TAKEN")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@exаmple.com"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"email": "a@example.com\n"}, "email"),
        ({"email": None}, "email"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "\u200b\u202e"}, "name"),
        ({"name": 7}, "name"),
        ({"password": "1234567"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"password": 12345678}, "password"),
        ({"role": "admin"}, "role"),
        ({"user_id": new_id()}, "user_id"),
        ({"is_active": True}, "is_active"),
    ],
)
def test_s30_an_account_that_is_wrong_is_not_made(world: World, changes: dict[str, Any], field: str):
    wanted = account(**changes)
    answer = check_failure(world.nobody().post("/auth/register", wanted), 422, "VALIDATION_ERROR")
    assert list(answer.body["details"]) == [field]
    login = {"email": str(wanted["email"]), "password": str(wanted["password"])}
    assert world.nobody().post("/auth/login", login).status in (401, 422)


def test_a_refused_password_is_not_repeated(world: World):
    answer = world.nobody().post("/auth/register", account(password="short!!"))
    assert "short!!" not in json.dumps(answer.body)


def test_a_password_opens_another_session(world: World):
    wanted = account()
    first = world.nobody().post("/auth/register", wanted).data
    second = check_success(world.nobody().post("/auth/login", {"email": wanted["email"].upper(), "password": PASSWORD}))
    assert second["user"] == first["user"]
    bearing(world, first["access_token"]).post("/auth/logout")
    check_success(bearing(world, second["access_token"]).get("/auth/me"))


def test_s22_a_wrong_password_and_an_unknown_address_have_one_answer(world: World):
    wanted = account()
    world.nobody().post("/auth/register", wanted)
    wrong = world.nobody().post("/auth/login", {"email": wanted["email"], "password": PASSWORD + "!"})
    unknown = world.nobody().post("/auth/login", {"email": f"not-{wanted['email']}", "password": PASSWORD})
    assert check_failure(wrong, 401, "UNAUTHENTICATED").body["message"] == unknown.body["message"]
    check_failure(unknown, 401, "UNAUTHENTICATED")


# --- what is no token (S1 to S5) ------------------------------------------------------------------------------------


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    return ".".join([*parts, signature])


def signed(claims: dict[str, Any], key: str) -> str:
    """Sign claims that the library would refuse to sign."""
    text = unsigned({"alg": "HS256", "typ": "JWT"}, claims).removesuffix(".")
    signature = hmac.digest(key.encode(), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


NOW = int(time.time())
# What is done to the claims of a good token before it is signed again with the right key
FORGED: dict[str, dict[str, Any]] = {
    "s02 without exp": {"exp": None},
    "s02 exp as text": {"exp": "2099-01-01"},
    "s02 exp in ten years": {"exp": NOW + 10 * 365 * 86_400},
    "s02 exp of nonsense": {"exp": 1e300},
    "s02 nbf in the future": {"nbf": NOW + 86_400},
    "s02 iat in the future": {"iat": NOW + 86_400},
    "s02 without iat": {"iat": None},
    "s02 without nbf": {"nbf": None},
    "s03 wrong iss": {"iss": "somebody"},
    "s03 without iss": {"iss": None},
    "s03 wrong aud": {"aud": "livekit"},
    "s03 without aud": {"aud": None},
    "s03 without typ": {"typ": None},
    "s03 unknown typ": {"typ": "admin"},
    "s03 typ as a list": {"typ": ["access"]},
    "s03 without sub": {"sub": None},
    "s03 empty sub": {"sub": ""},
    "s03 sub as a number": {"sub": 1},
    "s03 without a session": {"ref": None},
    "s03 without jti": {"jti": None},
    "s04 refresh": {"typ": "refresh"},
    "s04 guest": {"typ": "guest"},
    "s08 of another session": {"ref": "01HX3M6P2K8Z4Q7R9T1V5W0Y2A"},
    "s08 of another person": {"sub": "01HX3M6P2K8Z4Q7R9T1V5W0Y2A"},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED.keys())
def test_s02_s03_s04_s08_a_token_with_other_claims_is_none(world: World, changes: dict[str, Any]):
    person = world.person()
    assert person.token is not None
    claims = claims_of(person.token)
    key = world.runtime.settings.jwt_secret_key
    check_success(bearing(world, jwt.encode(claims, key)).get("/auth/me"))
    changed = {name: value for name, value in (claims | changes).items() if value is not None}
    answer = bearing(world, signed(changed, key)).get("/auth/me")
    is_ours = set(changes) <= {"ref", "sub"} and len(str(*changes.values())) == 26
    check_failure(answer, 401, "TOKEN_REVOKED" if is_ours else "UNAUTHENTICATED")


def test_s03_a_token_of_another_installation_is_none(world: World, make_world: Callable[..., World]):
    person = world.person()
    elsewhere = make_world(jwt_secret_key="another secret of more than 32 bytes, as it should be")
    check_failure(bearing(elsewhere, str(person.token)).get("/auth/me"), 401, "UNAUTHENTICATED")
    check_failure(bearing(world, str(elsewhere.person().token)).get("/auth/me"), 401, "UNAUTHENTICATED")
    check_success(person.get("/auth/me"))


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", "HS256"])
def test_s01_a_token_without_a_signature_is_none(world: World, algorithm: str):
    claims = claims_of(str(world.person().token))
    for signature in ("", "AAAA"):
        token = unsigned({"alg": algorithm, "typ": "JWT"}, claims, signature)
        check_failure(bearing(world, token).get("/auth/me"), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_s01_the_right_key_with_another_algorithm_is_none(world: World, algorithm: str):
    token = jwt.encode(claims_of(str(world.person().token)), world.runtime.settings.jwt_secret_key, algorithm)
    check_failure(bearing(world, token).get("/auth/me"), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "headers",
    [
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/keys"},
        {"jwk": {"kty": "oct", "k": "a2V5"}},
        {"kid": "../../dev/null"},
    ],
)
@pytest.mark.parametrize("key", ["k" * 64, "another secret of more than 32 bytes, as it should be"])
def test_s01_a_header_does_not_choose_the_key(world: World, headers: dict[str, Any], key: str):
    token = jwt.encode(claims_of(str(world.person().token)), key, headers=headers)
    check_failure(bearing(world, token).get("/auth/me"), 401, "UNAUTHENTICATED")


def test_s08_an_edited_claim_breaks_the_signature(world: World):
    header, _, signature = str(world.person().token).split(".")
    claims = claims_of(str(world.person().token)) | {"role": "host"}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    check_failure(bearing(world, f"{header}.{body}.{signature}").get("/auth/me"), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer null",
        "Basic YTpi",
        "Token {token}",
        "{token}",
        "Bearer {token} x",
        "Bearer {token}.",
        "Bearer {token}, Bearer {token}",
        "Bearer " + "x" * 5000,
    ],
)
def test_a_header_that_is_no_bearer_is_401(world: World, header: str):
    person = world.person()
    header = header.format(token=person.token)
    check_failure(world.nobody().get("/auth/me", headers={"Authorization": header}), 401, "UNAUTHENTICATED")


def test_the_word_bearer_may_be_written_as_one_likes(world: World):
    token = world.person().token
    for scheme in ("bearer", "BEARER"):
        check_success(world.nobody().get("/auth/me", headers={"Authorization": f"{scheme} {token}"}))


def test_a_token_anywhere_else_is_not_seen(world: World, host: Person):
    client = world.app.test_client()
    client.set_cookie("access_token_cookie", str(host.token))
    check_failure(Person(client, None, None).get("/auth/me"), 401, "UNAUTHENTICATED")
    check_failure(world.nobody().post("/auth/logout", {"token": host.token}), 401, "UNAUTHENTICATED")
    check_failure(world.nobody().get(f"/auth/me?jwt={host.token}"), 401, "UNAUTHENTICATED")


def test_s04_a_refresh_token_is_no_access_token(world: World, signed_in: dict[str, Any]):
    person = bearing(world, signed_in["refresh_token"])
    for answer in (person.get("/auth/me"), person.post("/meetings", {"title": "A"}), person.post("/auth/logout")):
        check_failure(answer, 401, "UNAUTHENTICATED")
    check_success(bearing(world, signed_in["access_token"]).get("/auth/me"))


def test_s04_an_access_token_is_no_refresh_token(world: World, signed_in: dict[str, Any]):
    check_failure(bearing(world, signed_in["access_token"]).post("/auth/refresh"), 401, "UNAUTHENTICATED")
    check_success(bearing(world, signed_in["refresh_token"]).post("/auth/refresh"))


def test_s05_a_media_token_and_a_ticket_are_no_access_tokens(world: World, host: Person):
    meeting = world.meeting(host)
    world.inside(meeting, host)
    media = host.post(f"/meetings/{meeting}/token").data["token"]
    ticket = host.post(f"/meetings/{meeting}/ws-ticket").data["ticket"]
    for token in (media, ticket):
        check_failure(bearing(world, token).get("/auth/me"), 401, "UNAUTHENTICATED")
        check_failure(bearing(world, token).post("/auth/refresh"), 401, "UNAUTHENTICATED")


def test_s09_the_hosts_media_token_makes_nobody_a_host(world: World, host: Person):
    ada = world.person()
    meeting = world.meeting(host)
    world.inside(meeting, host, ada)
    media = host.post(f"/meetings/{meeting}/token").data["token"]
    end = f"/meetings/{meeting}/end"
    check_failure(bearing(world, media).post(end), 401, "UNAUTHENTICATED")
    check_failure(ada.post(end, {"token": media}), 422, "VALIDATION_ERROR")
    check_failure(ada.post(f"{end}?access_token={media}"), 422, "VALIDATION_ERROR")
    for name in ("X-LiveKit-Token", "LiveKit-Token", "X-Authorization", "Proxy-Authorization"):
        check_failure(ada.post(end, headers={name: f"Bearer {media}"}), 403, "INSUFFICIENT_PERMISSION")
    told = {"headers": {"Authorization": media}, "content_type": "application/webhook+json"}
    check_failure(
        world.nobody().post("/livekit/webhook", data=b'{"event":"room_finished"}', **told), 401, "UNAUTHENTICATED"
    )
    assert ada.get(f"/meetings/{meeting}").data["status"] == "in_progress"
    check_success(host.post(end))
    assert ada.get(f"/meetings/{meeting}").data["status"] == "completed"


def test_a_guest_token_opens_only_its_meeting(world: World, host: Person):
    meeting = world.meeting(host, policy={"allow_anonymous_join": True})
    other = world.meeting(host, policy={"allow_anonymous_join": True})
    token = world.nobody().post(f"/meetings/{meeting}/join", {"display_name": "Gus"}).data["guest_token"]
    guest = world.guest(token)
    check_success(guest.get(f"/meetings/{meeting}"))
    check_failure(guest.get(f"/meetings/{other}"), 404, "MEETING_NOT_FOUND")
    for answer in (guest.get("/auth/me"), guest.get("/meetings"), guest.post("/meetings", {"title": "A"})):
        check_failure(answer, 401, "UNAUTHENTICATED")


def test_a_token_that_has_expired_says_so(world: World):
    person = world.person()
    with time_machine.travel(time.time() + 899, tick=False):
        check_success(person.get("/auth/me"))
    with time_machine.travel(time.time() + 915, tick=False):
        check_failure(person.get("/auth/me"), 401, "TOKEN_EXPIRED")


# --- refresh and logout (S6, S7) ------------------------------------------------------------------------------------


def refresh(world: World, token: str, **options: Any) -> Answer:
    return bearing(world, token).post("/auth/refresh", **options)


def test_a_refresh_token_is_exchanged_for_new_tokens_of_the_same_session(world: World, signed_in: dict[str, Any]):
    data = check_success(refresh(world, signed_in["refresh_token"]))
    assert data["user"] == signed_in["user"]
    assert data["refresh_token"] != signed_in["refresh_token"]
    assert claims_of(data["access_token"])["ref"] == claims_of(signed_in["access_token"])["ref"]
    check_success(bearing(world, data["access_token"]).get("/auth/me"))


def test_s06_a_refresh_token_used_again_ends_the_session_for_both_holders(world: World, signed_in: dict[str, Any]):
    theirs = refresh(world, signed_in["refresh_token"]).data
    check_failure(refresh(world, signed_in["refresh_token"]), 401, "TOKEN_REVOKED")
    check_failure(refresh(world, theirs["refresh_token"]), 401, "TOKEN_REVOKED")
    for token in (signed_in["access_token"], theirs["access_token"]):
        check_failure(bearing(world, token).get("/auth/me"), 401, "TOKEN_REVOKED")


def test_s06_a_refused_refresh_is_not_replayed_as_a_success(world: World, signed_in: dict[str, Any]):
    refresh(world, signed_in["refresh_token"])
    again = {"headers": {"Idempotency-Key": new_id()}}
    for _ in range(2):
        check = refresh(world, signed_in["refresh_token"], **again)
        assert (check.status, check.code) == (401, "TOKEN_REVOKED")


def test_s07_after_logout_no_token_of_the_session_works(world: World, signed_in: dict[str, Any]):
    person = bearing(world, signed_in["access_token"])
    check_success(person.post("/auth/logout"))
    check_failure(person.get("/auth/me"), 401, "TOKEN_REVOKED")
    check_failure(person.post("/meetings", {"title": "A"}), 401, "TOKEN_REVOKED")
    check_failure(person.post("/auth/logout"), 401, "TOKEN_REVOKED")
    check_failure(refresh(world, signed_in["refresh_token"]), 401, "TOKEN_REVOKED")


def test_s07_an_account_that_was_closed_is_out_at_once(world: World):
    person = world.person()
    with world.runtime.transaction() as tx:
        tx.execute(update(users).where(users.c.id == person.id).values(is_active=False))
    check_failure(person.get("/auth/me"), 401, "TOKEN_REVOKED")


def test_s08_the_role_is_what_the_database_says_now(world: World, host: Person):
    second = world.person()
    meeting = world.meeting(host, start=False, invitees=[second.email])

    def give(role: str) -> None:
        with world.runtime.transaction() as tx:
            mine = (participants.c.meeting_id == meeting) & (participants.c.user_id == second.id)
            tx.execute(update(participants).where(mine).values(role=role))

    give("co-host")
    check_success(second.post(f"/meetings/{meeting}/start"))
    give("attendee")
    check_failure(second.post(f"/meetings/{meeting}/end"), 403, "INSUFFICIENT_PERMISSION")
    assert host.get(f"/meetings/{meeting}").data["status"] == "in_progress"
