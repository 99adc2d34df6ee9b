"""The life of a meeting (contract 3)."""

import threading
from typing import Any

import pytest
from sqlalchemy import update

from shared.core.ids import is_id, new_id
from shared.participants.models import participants
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import account, check_failure, check_success, without_what_differs

MEETING = {
    "meeting_id",
    "title",
    "description",
    "status",
    "host",
    "scheduled_start",
    "scheduled_end",
    "time_zone",
    "started_at",
    "ended_at",
    "join_url",
    "created_at",
}
STATES = ["scheduled", "in_progress", "completed", "cancelled"]


def make(world: World, host: Person, state: str, **wishes: Any) -> str:
    """Make a meeting and bring it into a state."""
    meeting = world.meeting(host, start=state in ("in_progress", "completed"), **wishes)
    if state == "completed":
        check_success(host.post(f"/meetings/{meeting}/end"))
    if state == "cancelled":
        check_success(host.delete(f"/meetings/{meeting}"))
    return meeting


def status_of(host: Person, meeting: str) -> str:
    return str(host.get(f"/meetings/{meeting}").data["status"])


def events_of(host: Person, meeting: str) -> list[tuple[str, str]]:
    return [(e["type"], e["data"].get("action")) for e in host.get(f"/meetings/{meeting}/events").data]


def set_role(world: World, meeting: str, person: Person, role: str) -> None:
    with world.runtime.transaction() as tx:
        mine = (participants.c.meeting_id == meeting) & (participants.c.user_id == person.id)
        tx.execute(update(participants).where(mine).values(role=role))


# --- making ---------------------------------------------------------------------------------------------------------


def test_a_new_meeting_is_scheduled_and_its_maker_hosts_it(host: Person):
    data = check_success(host.post("/meetings", {"title": "  Stand-up "}), 201)
    assert set(data) == MEETING
    assert is_id(data["meeting_id"])
    assert data["host"] == {"user_id": host.id, "name": "Hedy Host"}
    assert (data["title"], data["description"], data["status"], data["time_zone"]) == (
        "Stand-up",
        "",
        "scheduled",
        "UTC",
    )
    for name in ("scheduled_start", "scheduled_end", "started_at", "ended_at"):
        assert data[name] is None
    assert data["join_url"].endswith(f"/join/{data['meeting_id']}")
    assert check_success(host.get(f"/meetings/{data['meeting_id']}")) == data


def test_times_come_back_in_utc_and_an_end_is_given_where_none_was_said(host: Person):
    wanted = {"title": "A", "scheduled_start": "2030-03-31T10:00:00.123456+02:00", "time_zone": "Europe/Paris"}
    data = check_success(host.post("/meetings", wanted), 201)
    assert (data["scheduled_start"], data["scheduled_end"]) == ("2030-03-31T08:00:00.123Z", "2030-03-31T09:00:00.123Z")
    assert data["time_zone"] == "Europe/Paris"


@pytest.mark.parametrize("moment", ["2028-02-29T00:00:00Z", "1999-01-01T00:00:00Z", "2030-03-31T02:30:00+01:00"])
def test_s126_a_time_that_exists_is_taken(host: Person, moment: str):
    assert host.post("/meetings", {"title": "A", "scheduled_start": moment}).status == 201


def test_only_somebody_with_an_account_makes_meetings(world: World):
    check_failure(world.nobody().post("/meetings", {"title": "A"}), 401, "UNAUTHENTICATED")


# --- every state and every verb -------------------------------------------------------------------------------------

OK = (200, None)
VERBS: dict[str, tuple[str, str, Any]] = {
    "start": ("POST", "/start", {}),
    "end": ("POST", "/end", {}),
    "cancel": ("DELETE", "", None),
    "rename": ("PATCH", "", {"title": "B"}),
    "reschedule": ("PATCH", "", {"scheduled_start": "2030-01-01T10:00:00Z", "scheduled_end": "2030-01-01T11:00:00Z"}),
    "join": ("POST", "/join", {}),
}
ENDED = (410, "MEETING_ENDED")
INVALID = (400, "INVALID_MEETING_STATE")
NOT_ACTIVE = (400, "MEETING_NOT_ACTIVE")
# verb -> what it answers in each of STATES, and the state it leads to
TABLE: dict[str, list[tuple[tuple[int, str | None], str]]] = {
    "start": [
        (OK, "in_progress"),
        ((409, "MEETING_ALREADY_ACTIVE"), "in_progress"),
        (ENDED, "completed"),
        (INVALID, "cancelled"),
    ],
    "end": [(NOT_ACTIVE, "scheduled"), (OK, "completed"), (ENDED, "completed"), (INVALID, "cancelled")],
    "cancel": [(OK, "cancelled"), (INVALID, "in_progress"), (ENDED, "completed"), (INVALID, "cancelled")],
    "rename": [(OK, "scheduled"), (OK, "in_progress"), (ENDED, "completed"), (INVALID, "cancelled")],
    "reschedule": [(OK, "scheduled"), (INVALID, "in_progress"), (ENDED, "completed"), (INVALID, "cancelled")],
    "join": [(NOT_ACTIVE, "scheduled"), (OK, "in_progress"), (ENDED, "completed"), (INVALID, "cancelled")],
}
CELLS = [(verb, state, *cell) for verb, row in TABLE.items() for state, cell in zip(STATES, row, strict=True)]


@pytest.mark.parametrize(("verb", "state", "expected", "then"), CELLS)
def test_each_verb_has_one_answer_in_each_state(
    world: World, host: Person, verb: str, state: str, expected: tuple[int, str | None], then: str
):
    meeting = make(world, host, state)
    before = host.get(f"/meetings/{meeting}").data, events_of(host, meeting)
    method, path, body = VERBS[verb]
    answer = host.call(method, f"/meetings/{meeting}{path}", body)
    status, code = expected
    if code is None:
        assert answer.status == status, answer.body
        assert len(events_of(host, meeting)) == len(before[1]) + 1
    else:
        check_failure(answer, status, code)
        assert (host.get(f"/meetings/{meeting}").data, events_of(host, meeting)) == before
    assert status_of(host, meeting) == then


def test_a_start_says_by_whom_and_when(world: World, host: Person):
    meeting = make(world, host, "scheduled")
    data = check_success(host.post(f"/meetings/{meeting}/start"))
    found = host.get(f"/meetings/{meeting}").data
    assert data == {"meeting_id": meeting, "started_by": host.id, "started_at": found["started_at"]}


def test_an_end_says_by_whom_and_when_and_how_long(world: World, host: Person):
    meeting = make(world, host, "in_progress")
    data = check_success(host.post(f"/meetings/{meeting}/end"))
    found = host.get(f"/meetings/{meeting}").data
    assert set(data) == {"meeting_id", "ended_by", "ended_at", "duration_minutes"}
    assert (data["ended_by"], data["ended_at"]) == (host.id, found["ended_at"])
    assert 0 <= data["duration_minutes"] < 1


def test_at_the_end_all_who_were_inside_have_left(world: World, host: Person):
    guest = world.person()
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host, guest)
    assert {p["status"] for p in host.get(f"/meetings/{meeting}/participants").data} == {"joined"}
    host.post(f"/meetings/{meeting}/end")
    people = host.get(f"/meetings/{meeting}/participants").data
    assert [p["status"] for p in people] == ["left", "left"]
    assert all(p["left_at"] for p in people)
    check_failure(guest.post(f"/meetings/{meeting}/chat", {"content": "late"}), 410, "MEETING_ENDED")


def test_s54_of_many_starts_at_once_one_succeeds(world: World, host: Person):
    meeting = make(world, host, "scheduled")
    answers: list[Answer] = []
    starters = [Person(world.app.test_client(), host.token, host.actor) for _ in range(6)]
    threads = [
        threading.Thread(target=lambda p=starter: answers.append(p.post(f"/meetings/{meeting}/start")))
        for starter in starters
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((a.status, a.code or "") for a in answers) == [(200, "")] + [(409, "MEETING_ALREADY_ACTIVE")] * 5
    assert events_of(host, meeting) == [("meeting_status", "started")]


# --- changing -------------------------------------------------------------------------------------------------------


def test_a_change_is_seen_by_everybody_and_told_once(world: World, host: Person):
    guest = world.person()
    meeting = make(world, host, "in_progress", invitees=[guest.email])
    data = check_success(host.patch(f"/meetings/{meeting}", {"title": "New", "description": "Words"}))
    assert (data["title"], data["description"]) == ("New", "Words")
    assert guest.get(f"/meetings/{meeting}").data == data
    assert events_of(host, meeting) == [("meeting_status", "started"), ("meeting_status", "updated")]


def test_a_running_meeting_keeps_its_time_also_when_its_title_changes_with_it(world: World, host: Person):
    meeting = make(world, host, "in_progress")
    answer = host.patch(f"/meetings/{meeting}", {"title": "New", "time_zone": "Europe/Paris"})
    check_failure(answer, 400, "INVALID_MEETING_STATE")
    assert host.get(f"/meetings/{meeting}").data["title"] == "A meeting"


def test_a_change_of_nothing_is_no_event(world: World, host: Person):
    meeting = make(world, host, "scheduled")
    check_success(host.patch(f"/meetings/{meeting}", {}))
    assert events_of(host, meeting) == []


def test_a_schedule_can_be_taken_away(world: World, host: Person):
    meeting = make(world, host, "scheduled", scheduled_start="2030-01-01T10:00:00Z")
    data = check_success(host.patch(f"/meetings/{meeting}", {"scheduled_start": None, "scheduled_end": None}))
    assert (data["scheduled_start"], data["scheduled_end"]) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"scheduled_end": "2030-01-01T10:00:00Z"},
        {"scheduled_start": "2030-01-01T11:00:00Z"},
        {"status": "completed"},
        {"host": "x"},
        {"meeting_id": "x"},
        {"policy": {}},
        {"title": ""},
        {"title": None},
    ],
)
def test_s30_a_change_that_is_wrong_changes_nothing(world: World, host: Person, change: dict[str, Any]):
    meeting = make(
        world, host, "scheduled", scheduled_start="2030-01-01T10:00:00Z", scheduled_end="2030-01-01T11:00:00Z"
    )
    before = host.get(f"/meetings/{meeting}").data
    check_failure(host.patch(f"/meetings/{meeting}", {"description": "x", **change}), 422, "VALIDATION_ERROR")
    assert host.get(f"/meetings/{meeting}").data == before


# --- who may --------------------------------------------------------------------------------------------------------

DOORS = [
    ("GET", "", None),
    ("PATCH", "", {"title": "B"}),
    ("DELETE", "", None),
    ("POST", "/start", {}),
    ("POST", "/end", {}),
    ("GET", "/status", None),
    ("GET", "/events", None),
    ("GET", "/events?stream=hosts", None),
    ("GET", "/snapshot", None),
    ("GET", "/participants", None),
    ("GET", "/chat", None),
    ("POST", "/chat", {"content": "hi"}),
    ("POST", "/token", {}),
    ("POST", "/ws-ticket", {}),
    ("POST", "/leave", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
@pytest.mark.parametrize("state", ["scheduled", "in_progress", "completed"])
def test_s17_s22_to_a_stranger_a_meeting_is_as_an_id_that_names_nothing(
    world: World, host: Person, state: str, method: str, path: str, body: Any
):
    meeting, stranger = make(world, host, state), world.person()
    before = host.get(f"/meetings/{meeting}").data, events_of(host, meeting)
    answer = stranger.call(method, f"/meetings/{meeting}{path}", body)
    nothing = stranger.call(method, f"/meetings/{new_id()}{path}", body)
    check_failure(answer, 404, "MEETING_NOT_FOUND")
    assert without_what_differs(answer) == without_what_differs(nothing)
    assert (host.get(f"/meetings/{meeting}").data, events_of(host, meeting)) == before


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
def test_s20_without_a_credential_no_door_opens(world: World, host: Person, method: str, path: str, body: Any):
    meeting = make(world, host, "in_progress")
    check_failure(world.nobody().call(method, f"/meetings/{meeting}{path}", body), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("role", ["attendee", "co-host"])
@pytest.mark.parametrize(
    ("verb", "allowed"),
    [("start", ["co-host"]), ("end", ["co-host"]), ("rename", []), ("cancel", [])],
)
def test_s32b_a_member_whose_role_is_too_low_is_told_so(
    world: World, host: Person, role: str, verb: str, allowed: list[str]
):
    member = world.person()
    meeting = make(world, host, "in_progress" if verb == "end" else "scheduled", invitees=[member.email])
    set_role(world, meeting, member, role)
    before = host.get(f"/meetings/{meeting}").data
    method, path, body = VERBS[verb]
    answer = member.call(method, f"/meetings/{meeting}{path}", body)
    if role in allowed:
        check_success(answer)
    else:
        check_failure(answer, 403, "INSUFFICIENT_PERMISSION")
        assert host.get(f"/meetings/{meeting}").data == before


@pytest.mark.parametrize("status", ["removed", "denied"])
def test_s98_who_was_put_out_is_a_stranger(world: World, host: Person, status: str):
    member = world.person()
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host, member)
    check_success(member.get(f"/meetings/{meeting}/status"))
    with world.runtime.transaction() as tx:
        tx.execute(update(participants).where(participants.c.user_id == member.id).values(status=status))
    for path in ("", "/status", "/events", "/snapshot"):
        answer = member.get(f"/meetings/{meeting}{path}")
        assert without_what_differs(answer) == without_what_differs(member.get(f"/meetings/{new_id()}{path}"))
    assert member.get("/meetings").data == []


# --- invitations ----------------------------------------------------------------------------------------------------


def test_an_invited_person_sees_the_meeting_and_not_what_is_said_inside(world: World, host: Person):
    guest = world.person()
    meeting = make(world, host, "in_progress", invitees=[guest.email.upper()])
    assert check_success(guest.get(f"/meetings/{meeting}"))["meeting_id"] == meeting
    check_success(guest.get(f"/meetings/{meeting}/status"))
    for path in ("/events", "/snapshot", "/participants"):
        check_failure(guest.get(f"/meetings/{meeting}{path}"), 403, "INSUFFICIENT_PERMISSION")
    [people] = [p for p in host.get(f"/meetings/{meeting}/participants").data if p["user_id"] == guest.id]
    assert (people["status"], people["role"]) == ("invited", "attendee")


def test_who_is_invited_before_having_an_account_is_a_member_with_the_account(world: World, host: Person):
    address = f"{new_id().lower()}@example.com"
    meeting = make(world, host, "scheduled", invitees=[address])
    assert [p["user_id"] for p in host.get(f"/meetings/{meeting}/participants").data] == [host.id]
    token = world.nobody().post("/auth/register", account(email=address.upper())).data["access_token"]
    newcomer = Person(world.app.test_client(), token, None)
    assert [m["meeting_id"] for m in check_success(newcomer.get("/meetings"), is_list=True)] == [meeting]
    check_success(newcomer.get(f"/meetings/{meeting}"))


@pytest.mark.parametrize("who", ["the host", "somebody twice", "a newcomer twice"])
def test_nobody_is_invited_twice(world: World, host: Person, who: str):
    somebody, newcomer = world.person().email, f"{new_id().lower()}@example.com"
    invitees = {
        "the host": [host.email.upper()],
        "somebody twice": [somebody, somebody.upper()],
        "a newcomer twice": [newcomer, newcomer],
    }[who]
    check_failure(host.post("/meetings", {"title": "A", "invitees": invitees}), 409, "PARTICIPANT_EXISTS")
    assert host.get("/meetings").data == []


def test_s22_an_invitation_does_not_tell_who_has_an_account(world: World, host: Person):
    known, unknown = world.person().email, f"{new_id().lower()}@example.com"
    answers = [host.post("/meetings", {"title": "A", "invitees": [email]}) for email in (known, unknown)]
    assert [set(answer.data) for answer in answers] == [MEETING, MEETING]


# --- status, events, snapshot ---------------------------------------------------------------------------------------

STATUS = {
    "meeting_id",
    "status",
    "is_active",
    "started_at",
    "ended_at",
    "attendance_count",
    "active_participants",
    "waiting_participants",
    "is_recording",
    "is_locked",
    "cursors",
}


def test_a_status_counts_who_is_inside_who_was_and_who_waits(world: World, host: Person):
    guest, gone, waiter = world.person(), world.person(), world.person()
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host, guest, gone)
    gone.post(f"/meetings/{meeting}/leave")
    with world.runtime.transaction() as tx:
        from shared.meetings.models import meetings
        from shared.policies.models import policies

        tx.execute(
            update(policies)
            .where(policies.c.meeting_id == meeting)
            .values(require_waiting_room=True, version=policies.c.version + 1)
        )
        tx.execute(
            update(meetings).where(meetings.c.id == meeting).values(policy_version=meetings.c.policy_version + 1)
        )
    assert waiter.post(f"/meetings/{meeting}/join").status == 202
    data = check_success(host.get(f"/meetings/{meeting}/status"))
    assert set(data) == STATUS
    assert (data["status"], data["is_active"], data["is_recording"], data["is_locked"]) == (
        "in_progress",
        True,
        False,
        False,
    )
    assert (data["attendance_count"], data["active_participants"], data["waiting_participants"]) == (3, 2, 1)
    assert set(data["cursors"]) == {"meeting", "hosts", "me"}
    assert set(guest.get(f"/meetings/{meeting}/status").data["cursors"]) == {"meeting", "me"}
    assert set(waiter.get(f"/meetings/{meeting}/status").data["cursors"]) == {"me"}


@pytest.mark.parametrize("state", STATES)
def test_a_status_tells_the_state(world: World, host: Person, state: str):
    data = check_success(host.get(f"/meetings/{make(world, host, state)}/status"))
    assert (data["status"], data["is_active"]) == (state, state == "in_progress")
    assert (data["started_at"] is None, data["ended_at"] is None) == (
        state in ("scheduled", "cancelled"),
        state != "completed",
    )


def test_the_events_of_a_stream_come_in_order_and_without_a_hole(world: World, host: Person):
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host)
    for i in range(5):
        host.post(f"/meetings/{meeting}/chat", {"content": f"{i}"})
    host.post(f"/meetings/{meeting}/end")
    answer = host.get(f"/meetings/{meeting}/events")
    events = check_success(answer, is_list=True)
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert {e["stream"] for e in events} == {"meeting"}
    assert set(events[0]) == {"type", "meeting_id", "user_id", "data", "timestamp", "stream", "seq"}
    assert events[0]["data"]["action"] == "started"
    assert (events[0]["user_id"], events[0]["meeting_id"]) == (host.id, meeting)
    assert [e["data"]["content"] for e in events if e["type"] == "chat"] == list("01234")
    assert events[-1]["data"]["action"] == "ended"
    assert host.get(f"/meetings/{meeting}/status").data["cursors"]["meeting"] == len(events)


def test_events_are_read_page_by_page(world: World, host: Person):
    meeting = make(world, host, "in_progress")
    for i in range(4):
        host.patch(f"/meetings/{meeting}", {"title": f"{i}"})
    seen: list[int] = []
    after: str | None = "0"
    while after is not None:
        answer = host.get(f"/meetings/{meeting}/events?after_seq={after}&limit=2")
        seen += [e["seq"] for e in answer.data]
        assert len(answer.data) <= 2
        after = answer.body["pagination"]["next_cursor"]
    assert seen == [1, 2, 3, 4, 5]
    assert host.get(f"/meetings/{meeting}/events?after_seq=5").data == []


@pytest.mark.parametrize("query", ["stream=other", "stream=m:*", "after_seq=-1", "after_seq=9007199254740993", "x=1"])
def test_s75_a_question_for_events_that_is_wrong_is_422(world: World, host: Person, query: str):
    check_failure(host.get(f"/meetings/{make(world, host, 'in_progress')}/events?{query}"), 422, "VALIDATION_ERROR")


def test_s37_the_stream_of_the_hosts_is_for_hosts(world: World, host: Person):
    guest = world.person()
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host, guest)
    check_success(host.get(f"/meetings/{meeting}/events?stream=hosts"), is_list=True)
    answer = guest.get(f"/meetings/{meeting}/events?stream=hosts")
    check_failure(answer, 403, "INSUFFICIENT_PERMISSION")


def test_s87_who_comes_late_reads_what_happened_since(world: World, host: Person):
    guest = world.person()
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host)
    host.post(f"/meetings/{meeting}/chat", {"content": "before"})
    world.inside(meeting, guest)
    host.post(f"/meetings/{meeting}/chat", {"content": "during"})
    guest.post(f"/meetings/{meeting}/leave")
    host.post(f"/meetings/{meeting}/chat", {"content": "after"})

    def said(person: Person) -> list[str]:
        events = person.get(f"/meetings/{meeting}/events").data
        return [e["data"]["content"] for e in events if e["type"] == "chat"]

    assert said(guest) == ["during"]
    assert said(host) == ["before", "during", "after"]


def test_a_snapshot_is_all_that_a_client_needs(world: World, host: Person):
    guest = world.person("Greta")
    meeting = make(world, host, "in_progress", policy={"require_password": True, "passcode": "canary-1"})
    world.inside(meeting, host)
    check_success(guest.post(f"/meetings/{meeting}/join", {"passcode": "canary-1"}))
    data = check_success(guest.get(f"/meetings/{meeting}/snapshot"))
    assert set(data) == {
        "meeting",
        "me",
        "participants",
        "policy",
        "breakout_rooms",
        "polls",
        "cursors",
        "epoch",
    }
    assert data["meeting"] == guest.get(f"/meetings/{meeting}").data
    assert (data["me"]["user_id"], data["me"]["status"]) == (guest.id, "joined")
    assert [p["user_id"] for p in data["participants"]] == [host.id, guest.id]
    assert data["cursors"] == guest.get(f"/meetings/{meeting}/status").data["cursors"]
    for secret in ("canary-1", host.email, guest.email):
        assert secret not in str(data)


def test_p25_a_snapshot_and_the_events_behind_it_make_a_later_snapshot(world: World, host: Person):
    meeting = make(world, host, "in_progress")
    world.inside(meeting, host)
    earlier = host.get(f"/meetings/{meeting}/snapshot").data
    host.patch(f"/meetings/{meeting}", {"title": "New"})
    host.patch(f"/meetings/{meeting}", {"description": "Words"})
    later = host.get(f"/meetings/{meeting}/snapshot").data
    after = earlier["cursors"]["meeting"]
    events = host.get(f"/meetings/{meeting}/events?after_seq={after}").data
    assert [e["seq"] for e in events] == list(range(after + 1, later["cursors"]["meeting"] + 1))
    for event in events:
        told = {name: value for name, value in event["data"].items() if name in earlier["meeting"]}
        earlier["meeting"].update(told)
    assert earlier["meeting"] == later["meeting"]
