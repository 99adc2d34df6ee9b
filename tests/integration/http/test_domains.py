"""The rule of domains (S40): an address inside one of them, exactly, and nothing that merely looks like it."""

from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import account, check_failure, check_success


@pytest.fixture
def meeting_id(world: World, host: Person) -> str:
    return world.meeting(host, policy={"allowed_domains": ["Corp.com"]})


def unique(address: str) -> str:
    """Return the address with something in front of it that nobody has."""
    return f"{new_id().lower()}.{address}"


def register(world: World, address: str) -> Answer:
    return world.nobody().post("/auth/register", account(email=address))


def enter(world: World, meeting_id: str, address: str) -> Answer:
    """Make an account with the address, as anybody can, and join with it."""
    token = check_success(register(world, address), 201)["access_token"]
    return Person(world.app.test_client(), token, None).post(f"/meetings/{meeting_id}/join")


@pytest.mark.parametrize("address", ["user@corp.com", "USER@CORP.COM", "user@Corp.Com"])
def test_s40_the_domain_itself_enters_in_any_case(world: World, meeting_id: str, address: str) -> None:
    assert enter(world, meeting_id, unique(address)).status == 200


@pytest.mark.parametrize(
    "address",
    [
        "user@corp.com.evil.org",
        "user@sub.corp.com",
        "user@notcorp.com",
        "user@corp.co",
        "corp.com@evil.org",
        "user%corp.com@evil.org",
        "user@xn--crp-uqa.com",
    ],
)
def test_s40_another_domain_is_refused_however_much_it_looks_like_it(
    world: World, host: Person, meeting_id: str, address: str
) -> None:
    check_failure(enter(world, meeting_id, unique(address)), 403, "DOMAIN_NOT_ALLOWED")
    assert host.get(f"/meetings/{meeting_id}/status").data["active_participants"] == 0


@pytest.mark.parametrize(
    "address",
    [
        "user@evil.org@corp.com",
        "user@corp.com.",
        "user@corp.com\n",
        "user@c\u043erp.com",
        "user@corp\u3002com",
        "user@corp.com\u200b",
    ],
)
def test_s40_what_could_be_read_as_the_domain_gets_no_account(world: World, address: str) -> None:
    answer = check_failure(register(world, unique(address)), 422, "VALIDATION_ERROR")
    assert list(answer.body["details"]) == ["email"]


def test_s40_an_address_in_the_display_name_is_no_address(world: World, meeting_id: str) -> None:
    person = world.person()
    answer = person.post(f"/meetings/{meeting_id}/join", {"display_name": "ada@corp.com"})
    check_failure(answer, 403, "DOMAIN_NOT_ALLOWED")


@pytest.mark.parametrize("domain", ["corp.com.", "c\u043erp.com", "*.corp.com", "@corp.com", "a@corp.com", "corp", ""])
def test_s40_what_is_no_exact_domain_cannot_be_allowed(world: World, host: Person, domain: str) -> None:
    meeting_id = world.meeting(host)
    rules: dict[str, Any] = {"allowed_domains": [domain]}
    check_failure(host.patch(f"/meetings/{meeting_id}/security/policy", rules), 422, "VALIDATION_ERROR")
    assert host.get(f"/meetings/{meeting_id}/security/policy").data["allowed_domains"] == []
