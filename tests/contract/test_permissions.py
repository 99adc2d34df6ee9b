"""Every way in declares what it needs, in one table (contract 3 to 7, S32b)."""

import re
from pathlib import Path

import pytest
from flask import Flask

from dev.permissions import ASKERS, outcome
from shared.identity.scopes import SCOPES
from shared.participants import permissions
from shared.participants.models import ATTENDEE, CO_HOST, HOST, ROLES
from shared.participants.permissions import PERMISSIONS, Permission
from web.http.door import DOORS
from web.realtime.frame_types import FRAME_TYPES

pytestmark = pytest.mark.once

# Whose doors have nothing to do with meetings.
WITHOUT = {"auth", "api-keys"}
# Whose doors take no API keys: a socket hears everything, whatever a key was made for.
WITHOUT_SCOPE = {"meeting.listen"}


def test_every_door_has_declared_the_permission_that_it_needs_or_that_it_needs_none(app: Flask):
    served = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/v1/") and rule.endpoint.partition(".")[0] in app.blueprints
    } - {("GET", f"/api/v1/{name}") for name in ("openapi.json", "docs", "asyncapi.json")}
    # LiveKit's own door lets nobody in who has a place in a meeting, or an account.
    assert {(door.method, door.path) for door in DOORS} == served - {("POST", "/api/v1/livekit/webhook")}
    for door in DOORS:
        area = door.path.removeprefix("/api/v1/").partition("/")[0]
        assert (door.permission is None) == (area in WITHOUT), door.path
        assert door.permission is None or PERMISSIONS[door.permission.name] is door.permission


def test_every_door_has_declared_which_scopes_a_key_needs_or_takes_no_keys(app: Flask):
    for door in DOORS:
        assert set(door.scopes) <= set(SCOPES)
        takes_none = door.permission is None or door.permission.name in WITHOUT_SCOPE
        assert (not door.scopes) == takes_none, door.path
        writes = door.method != "GET" and not door.path.endswith(("/validate-access", "/simulate"))
        # Of webhooks the contract has one scope: who may read where they lead may change it.
        assert all(scope.endswith(":write") == writes for scope in door.scopes if scope != "webhooks:write"), door.path


def test_the_scopes_are_those_of_the_contract():
    assert set(SCOPES) == {
        *("meetings:read", "meetings:write", "participants:read", "participants:write", "chat:read", "chat:write"),
        *("recordings:read", "recordings:write", "webhooks:write", "analytics:read"),
    }


def test_every_type_of_frame_has_declared_the_permission_that_it_needs(app: Flask):
    assert FRAME_TYPES
    for kind in FRAME_TYPES.values():
        assert PERMISSIONS[kind.permission.name] is kind.permission


def test_every_permission_is_asked_for_by_a_service_and_told_by_its_constant(project: Path):
    table = project / "shared/participants/permissions.py"
    sources = "\n".join(
        path.read_text() for part in ("shared", "web") for path in (project / part).rglob("*.py") if path != table
    )
    constants = {value.name: name for name, value in vars(permissions).items() if isinstance(value, Permission)}
    assert constants.keys() == PERMISSIONS.keys()
    for name, constant in constants.items():
        assert constant == name.upper().replace(".", "_")
        assert re.search(rf"\b{constant}\b", sources), f"nobody asks for {name}"


@pytest.mark.parametrize("permission", PERMISSIONS.values(), ids=PERMISSIONS.keys())
def test_who_stands_higher_may_all_that_the_lower_may(permission: Permission):
    assert set(permission.roles) in ({HOST}, {HOST, CO_HOST}, set(ROLES))
    assert permission.meaning.endswith(".")
    may = [outcome(permission, "member", asker) == "yes" for asker in ("host", "co-host", "attendee", "waiter")]
    assert may == sorted(may, reverse=True)
    assert (may[2] is False) == (ATTENDEE not in permission.roles)


def test_removed_people_and_outsiders_find_no_meeting_but_where_one_enters():
    for permission in PERMISSIONS.values():
        refused = {outcome(permission, "member", asker) for asker in ("removed", "outsider")}
        assert refused == ({"yes"} if permission.where == "anywhere" else {"404"}), permission.name
    assert {p.name for p in PERMISSIONS.values() if p.where == "anywhere"} == {
        "job.cancel",
        "job.read",
        "meeting.card",
        "meeting.create",
        "meeting.join",
        "meeting.list",
        "webhooks.manage",
    }
    assert "outsider" in ASKERS
