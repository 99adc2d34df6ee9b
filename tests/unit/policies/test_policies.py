"""Policies as rows, in the cache, and what follows from them when a meeting is made and started."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update

from shared.core.cache import Cache
from shared.core.errors import ValidationFailed
from shared.core.keyring import Keyring
from shared.core.transaction import Tools
from shared.meetings.models import meetings
from shared.meetings.queries import get_meeting
from shared.policies import cache
from shared.policies.models import DEFAULTS, Policy, policies
from shared.policies.service import change_policy, permits
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.unit.web.realtime.wire import wait_for


@pytest.fixture
def timed(timed: Runtime) -> Runtime:
    """The runtime, with a part of Redis into which no worker lays what was started here."""
    settings = replace(timed.settings, redis_url=timed.settings.redis_url.rsplit("/", 1)[0] + "/9")
    own = Cache(settings.redis_url, 60, timed.tools.keyring)
    return replace(timed, settings=settings, tools=replace(timed.tools, settings=settings, cache=own))


def stored(runtime: Runtime, meeting_id: str) -> Policy:
    with runtime.reading() as tx:
        return Policy.of(tx.execute(select(policies).where(policies.c.meeting_id == meeting_id)).one())


def other_process(runtime: Runtime) -> Runtime:
    """Return the runtime as another process has it: the same database and Redis, nothing in memory yet."""
    fresh = Cache(runtime.settings.redis_url, 60, runtime.tools.keyring)
    return replace(runtime, tools=replace(runtime.tools, cache=fresh))


def test_a_meeting_without_wishes_has_the_contracts_defaults(timed: Runtime) -> None:
    scene = Scene(timed)
    made = stored(timed, scene.meeting(scene.user()))
    assert {name: getattr(made, name) for name in DEFAULTS} == DEFAULTS
    assert (made.version, made.passcode_hash, made.updated_at) == (1, None, timed.now())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("require_waiting_room", True),
        ("allow_anonymous_join", True),
        ("max_participants", 3),
        ("allowed_domains", ["corp.com"]),
        ("blocked_users", ["01JQ0000000000000000000ADA"]),
        ("recording_permissions", "none"),
        ("screen_share_permissions", "host"),
        ("chat_permissions", "none"),
        ("mute_on_entry", True),
        ("disable_camera", True),
        ("lock_meeting", True),
        ("enable_breakout_rooms", False),
        ("enable_polls", False),
        ("enable_whiteboard", False),
        ("enable_file_sharing", False),
        ("enable_reactions", False),
        ("enable_hand_raise", False),
        ("enable_e2e_encryption", True),
        ("idle_timeout_minutes", 5),
        ("meeting_duration_minutes", 30),
        ("join_approval_mode", "manual"),
        ("custom_settings", {"color": "blue", "nested": {"n": [1, 2.5, None]}}),
    ],
)
def test_every_field_is_kept_as_it_was_wished(timed: Runtime, field: str, value: Any) -> None:
    scene = Scene(timed)
    made = stored(timed, scene.meeting(scene.user(), policy={field: value}))
    assert {name: getattr(made, name) for name in DEFAULTS} == {**DEFAULTS, field: value}


def test_max_participants_defaults_to_the_installations_setting(timed: Runtime) -> None:
    settings = replace(timed.settings, meeting_max_participants=7)
    runtime = replace(timed, settings=settings, tools=replace(timed.tools, settings=settings))
    scene = Scene(runtime)
    assert stored(runtime, scene.meeting(scene.user())).max_participants == 7


def test_a_passcode_is_kept_only_as_a_hash(timed: Runtime) -> None:
    scene = Scene(timed)
    made = stored(timed, scene.meeting(scene.user(), policy={"require_password": True, "passcode": "open sesame"}))
    assert made.passcode_hash is not None
    assert "sesame" not in made.passcode_hash
    assert timed.tools.keyring.passcode_matches("open sesame", made.passcode_hash)


@pytest.mark.parametrize("wishes", [{"require_password": True}, {"require_password": True, "passcode": ""}])
def test_a_password_that_is_required_must_be_given(timed: Runtime, wishes: dict[str, Any]) -> None:
    scene = Scene(timed)
    host = scene.user()
    with pytest.raises(ValidationFailed) as refused:
        scene.meeting(host, policy=wishes)
    assert "policy" in refused.value.details
    with timed.reading() as tx:
        assert tx.first(select(meetings).where(meetings.c.host_id == host.user_id)) is None


@pytest.mark.parametrize(
    ("permission", "is_staff", "allowed"),
    [
        ("all", False, True),
        ("all", True, True),
        ("host", False, False),
        ("host", True, True),
        ("none", False, False),
        ("none", True, False),
    ],
)
@pytest.mark.once
def test_a_permission_covers_all_the_staff_or_nobody(permission: str, is_staff: bool, allowed: bool) -> None:
    assert permits(permission, is_staff=is_staff) is allowed


def test_what_a_client_sees_never_has_the_passcode_and_tells_only_hosts_who_is_blocked(timed: Runtime) -> None:
    scene = Scene(timed)
    wishes = {"passcode": "open sesame", "blocked_users": ["somebody"], "custom_settings": {"a": 1}}
    made = stored(timed, scene.meeting(scene.user(), policy=wishes))
    staff, attendee = made.public(for_staff=True), made.public(for_staff=False)
    assert set(staff) - set(attendee) == {"blocked_users", "custom_settings"}
    for view in (staff, attendee):
        assert view["has_passcode"] is True
        assert made.passcode_hash not in view.values()
        assert set(DEFAULTS) - {"blocked_users", "custom_settings"} <= set(view)


# --- the cache


def test_a_policy_is_read_from_the_database_once(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    process = other_process(timed)
    meeting = scene.state(meeting_id)
    with process.reading() as tx:
        first = cache.get_policy(tx, meeting)
        assert cache.get_policy(tx, meeting) is first
    assert first == stored(timed, meeting_id)


def test_a_policy_that_was_changed_is_never_taken_from_the_cache(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    with timed.transaction() as tx:
        assert cache.get_policy(tx, scene.state(meeting_id)).lock_meeting is False
    with timed.transaction() as tx:
        tx.execute(update(policies).where(policies.c.meeting_id == meeting_id).values(lock_meeting=True, version=2))
        tx.execute(update(meetings).where(meetings.c.id == meeting_id).values(policy_version=2))
    with timed.reading() as tx:
        assert cache.get_policy(tx, scene.state(meeting_id)).lock_meeting is True


def lay_into_redis(runtime: Runtime, meeting_id: str, changes: dict[str, Any] | None = None) -> None:
    with runtime.reading() as tx:
        entries = cache.prewarm(tx, [meeting_id])
    assert set(entries) == {meeting_id}
    entries[meeting_id] |= changes or {}
    runtime.tools.cache.store(cache.KIND, entries)


def test_a_prewarmed_policy_is_taken_from_redis_and_is_the_same(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"allowed_domains": ["corp.com"], "custom_settings": {"a": [1]}})
    lay_into_redis(timed, meeting_id)
    process = other_process(timed)
    cache.warm(process.tools.cache, meeting_id)
    known = process.tools.cache.get(cache.KIND, meeting_id, 1)
    assert known is not None
    # On the way through JSON, times lose what is below a millisecond.
    assert replace(known, updated_at=timed.now()) == stored(timed, meeting_id)
    assert abs(known.updated_at - timed.now()) < timedelta(milliseconds=1)
    cache.warm(process.tools.cache, meeting_id)
    assert process.tools.cache.get(cache.KIND, meeting_id, 1) is known


@pytest.mark.parametrize(
    "changes",
    [
        {"updated_at": "yesterday"},
        {"updated_at": None},
        {"a_field_of_another_release": 1},
        {"meeting_id": "01JQ0000000000000000000002"},
    ],
)
def test_what_redis_has_in_another_form_or_for_another_meeting_is_not_used(
    timed: Runtime, changes: dict[str, Any]
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    lay_into_redis(timed, meeting_id, changes)
    process = other_process(timed)
    cache.warm(process.tools.cache, meeting_id)
    assert not process.tools.cache.knows(cache.KIND, meeting_id)
    with process.reading() as tx:
        assert cache.get_policy(tx, scene.state(meeting_id)) == stored(timed, meeting_id)


def test_a_policy_nobody_prewarmed_is_not_warmed(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    process = other_process(timed)
    cache.warm(process.tools.cache, meeting_id)
    assert not process.tools.cache.knows(cache.KIND, meeting_id)


def test_a_policy_that_was_written_with_another_key_is_not_believed(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    forger = Cache(timed.settings.redis_url, 60, Keyring("the key of somebody who can only write to Redis"))
    tools = Tools(timed.settings, timed.tools.keyring, forger)
    lay_into_redis(replace(timed, tools=tools), meeting_id, {"lock_meeting": False})
    process = other_process(timed)
    cache.warm(process.tools.cache, meeting_id)
    assert not process.tools.cache.knows(cache.KIND, meeting_id)


@contextmanager
def policy_reads(runtime: Runtime, hold: threading.Event | None = None) -> Iterator[list[str]]:
    """Note the reads of policies that reach the database; `hold` lets them pass."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_) -> None:
        if statement.startswith("SELECT") and "FROM policies" in statement:
            seen.append(statement)
            assert hold is None or hold.wait(5)

    event.listen(runtime.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(runtime.database.engine, "before_cursor_execute", note)


def at_once(count: int, call: Callable[[], object], process: Runtime, hold: threading.Event) -> list[object]:
    """Call so many times at once; `hold` is set when all but one wait for that one."""
    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(call) for _ in range(count)]
        flights: dict[Any, Any] = process.tools.cache.flights._flights  # type: ignore[assignment]
        wait_for(lambda: any(len(each.landed._cond._waiters) == count - 1 for each in list(flights.values())))
        hold.set()
        return [each.result(5) for each in calls]


def test_transactions_that_miss_the_same_policy_at_the_same_time_read_it_once(timed: Runtime) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    process, meeting, hold = other_process(timed), scene.state(meeting_id), threading.Event()

    def read() -> Policy:
        with process.reading() as tx:
            return cache.get_policy(tx, meeting)

    with policy_reads(timed, hold) as seen:
        found = at_once(6, read, process, hold)
        read()
    assert (found, len(seen)) == ([stored(timed, meeting_id)] * 6, 1)


def test_requests_that_miss_the_same_policy_at_the_same_time_ask_redis_once(
    timed: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    lay_into_redis(timed, meeting_id)
    process, hold, asked = other_process(timed), threading.Event(), []
    really = process.tools.cache.fetch

    def fetch(kind: str, id_: str) -> dict[str, Any] | None:
        asked.append(id_)
        assert hold.wait(5)
        return really(kind, id_)

    monkeypatch.setattr(process.tools.cache, "fetch", fetch)
    at_once(20, lambda: cache.warm(process.tools.cache, meeting_id), process, hold)
    assert (asked, process.tools.cache.knows(cache.KIND, meeting_id)) == ([meeting_id], True)


def test_what_names_no_meeting_is_not_looked_up(timed: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(timed.tools.cache, "fetch", lambda _, id_: asked.append(id_))
    cache.warm(timed.tools.cache, "x" * 500)
    assert asked == []


def test_a_change_that_is_undone_leaves_nothing_in_the_cache(timed: Runtime) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    process = other_process(timed)
    with suppress(ZeroDivisionError), process.transaction() as tx:
        change_policy(tx, meeting_id, host, {"lock_meeting": True}, replace=False)
        assert cache.get_policy(tx, get_meeting(tx, meeting_id)).lock_meeting is True
        assert cache.get_policies(tx, [get_meeting(tx, meeting_id)])[meeting_id].lock_meeting is True
        raise ZeroDivisionError
    with process.transaction() as tx:  # gives version 2 once more
        change_policy(tx, meeting_id, host, {"enable_polls": False}, replace=False)
    with process.reading() as tx:
        policy = cache.get_policy(tx, get_meeting(tx, meeting_id))
    assert (policy.version, policy.lock_meeting, policy.enable_polls) == (2, False, False)


# --- listeners


@pytest.mark.parametrize(("minutes", "deadline"), [(0, None), (45, timedelta(minutes=45))])
def test_the_start_sets_the_deadline_that_the_policy_asks_for(
    timed: Runtime, minutes: int, deadline: timedelta | None
) -> None:
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user(), policy={"meeting_duration_minutes": minutes})
    assert scene.state(meeting_id).deadline_at == (None if deadline is None else timed.now() + deadline)
