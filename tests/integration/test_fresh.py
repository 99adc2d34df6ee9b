"""A fresh installation: who is in it, what it lets in, and what a meeting made without a wish allows (S130, S138)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.core.settings import Settings
from shared.models import METADATA
from shared.runtime import build_runtime
from tests.factories.database import empty_database
from tests.factories.scene import Scene
from tests.factories.world import World
from tests.integration.http.answers import check_failure, check_success
from tests.stack import migrate
from web.app import create_app

DEFAULT_ACCOUNTS = ["admin", "administrator", "root", "parley", "test", "demo", "user", "guest", "host"]
DEFAULT_PASSWORDS = ["admin123", "password", "changeme", "parley123", "correct horse battery"]


@pytest.fixture(scope="module")
def fresh(settings: Settings, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The product right after its migrations."""
    with empty_database(database_url, Path(tmp_path_factory.mktemp("fresh"))) as url:
        migrate(url)
        runtime = build_runtime(replace(settings, database_url=url))
        yield World(create_app(runtime), runtime)
        runtime.database.dispose()


def test_s138_nobody_has_an_account_before_somebody_makes_one(fresh: World) -> None:
    with fresh.runtime.reading() as tx:
        filled = [table.name for table in METADATA.sorted_tables if tx.all(select(table))]
    assert filled == ["installation"]
    for name in DEFAULT_ACCOUNTS:
        for domain in ("example.com", "localhost.localdomain", "parley.local"):
            login = {"email": f"{name}@{domain}", "password": DEFAULT_PASSWORDS[0]}
            check_failure(fresh.nobody().post("/auth/login", login), 401, "UNAUTHENTICATED")
    for password in DEFAULT_PASSWORDS:
        login = {"email": "admin@example.com", "password": password}
        check_failure(fresh.nobody().post("/auth/login", login), 401, "UNAUTHENTICATED")
    account = {"email": "admin@example.com", "name": "Ada", "password": DEFAULT_PASSWORDS[0]}
    check_success(fresh.nobody().post("/auth/register", account), 201)
    login = {"email": account["email"], "password": account["password"]}
    session = check_success(fresh.nobody().post("/auth/login", login))
    assert set(session["user"]) == {"user_id", "email", "name"}  # whoever comes first is nothing more than others


def test_s138_there_is_no_door_for_administrators(fresh: World) -> None:
    words = ("admin", "console", "debug", "flower", "internal", "manage", "impersonate", "sudo", "shell", "config")
    rules = [rule.rule for rule in fresh.app.url_map.iter_rules()]
    assert [rule for rule in rules if any(word in rule.lower() for word in words)] == []
    assert fresh.app.debug is False
    first, second = fresh.person(), fresh.person()
    theirs = fresh.meeting(second)
    check_failure(first.get(f"/meetings/{theirs}"), 404, "MEETING_NOT_FOUND")
    check_failure(first.post(f"/meetings/{theirs}/end"), 404, "MEETING_NOT_FOUND")
    check_success(second.get(f"/meetings/{theirs}"))


def test_s130_a_meeting_made_without_a_wish_is_for_people_with_an_account(fresh: World) -> None:
    host, ada = fresh.person(), fresh.person()
    meeting_id = host.post("/meetings", {"title": "A"}).data["meeting_id"]
    join = f"/meetings/{meeting_id}/join"
    check_failure(ada.post(join), 400, "MEETING_NOT_ACTIVE")
    check_success(host.post(f"/meetings/{meeting_id}/start"))
    check_failure(fresh.nobody().post(join, {"display_name": "Gus"}), 403, "ANONYMOUS_NOT_ALLOWED")
    check_failure(ada.get(f"/meetings/{meeting_id}"), 404, "MEETING_NOT_FOUND")
    seat = check_success(ada.post(join))
    assert (seat["role"], seat["status"]) == ("attendee", "joined")


def test_s130_an_attendee_of_it_presents_and_writes_and_decides_nothing(fresh: World) -> None:
    host, ada = fresh.person(), fresh.person()
    meeting_id = fresh.meeting(host)
    seats = fresh.inside(meeting_id, host, ada)
    path = f"/meetings/{meeting_id}"
    check_success(ada.post(f"{path}/chat", {"content": "hello"}), 201)
    check_success(ada.put(f"{path}/participants/status", {"is_screen_sharing": True, "is_hand_raised": True}))
    assert "screen_share" in ada.post(f"{path}/token").data["can_publish_sources"]
    policy = check_success(ada.get(f"{path}/security/policy"))
    assert (policy["recording_permissions"], policy["has_passcode"]) == ("host", False)
    them = f"{path}/participants/{seats[0]['participant_id']}"
    for answer in (
        ada.post(f"{path}/end"),
        ada.patch(path, {"title": "Mine"}),
        ada.patch(f"{path}/security/policy", {"lock_meeting": True}),
        ada.patch(them, {"is_muted": True}),
        ada.post(f"{them}/remove"),
        ada.post(f"{path}/waiting-room/admit", {"all": True}),
    ):
        check_failure(answer, 403, "INSUFFICIENT_PERMISSION")
    check_success(host.post(f"{path}/end"))


def test_s130_it_has_a_hundred_seats(fresh: World) -> None:
    host = fresh.person()
    meeting_id = fresh.meeting(host)
    scene = Scene(fresh.runtime)
    for _ in range(100):
        scene.join(meeting_id, scene.user())
    late = fresh.person()
    check_failure(late.post(f"/meetings/{meeting_id}/join"), 403, "MAX_PARTICIPANTS_REACHED")
    check_success(host.post(f"/meetings/{meeting_id}/join"))
