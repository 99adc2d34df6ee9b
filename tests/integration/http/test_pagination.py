"""Lists: whose, which, in what order, page by page (contract 1 and 3)."""

import pytest

from tests.factories.world import Person, World
from tests.integration.http.answers import check_failure, check_success


def listed(person: Person, query: str = "") -> list[str]:
    answer = person.get(f"/meetings?{query}" if query else "/meetings")
    return [meeting["meeting_id"] for meeting in check_success(answer, is_list=True)]


def pages(person: Person, limit: int, query: str = "") -> list[list[str]]:
    """Read a list to its end, page by page."""
    found, cursor = [], ""
    while True:
        answer = person.get(f"/meetings?limit={limit}&{query}{cursor}")
        assert answer.body["pagination"]["limit"] == limit
        found.append([meeting["meeting_id"] for meeting in answer.data])
        following = answer.body["pagination"]["next_cursor"]
        if following is None:
            return found
        cursor = f"&cursor={following}"


def test_a_list_is_newest_first_and_holds_only_mine(world: World, host: Person):
    stranger = world.person()
    mine = [world.meeting(host, start=False) for _ in range(3)]
    theirs = world.meeting(stranger, start=False)
    assert listed(host) == mine[::-1]
    assert listed(stranger) == [theirs]


def test_mine_is_what_i_host_what_i_am_invited_to_and_what_i_joined(world: World, host: Person):
    me = world.person()
    hosted = world.meeting(me, start=False)
    invited = world.meeting(host, start=False, invitees=[me.email])
    joined = world.meeting(host)
    world.inside(joined, me)
    me.post(f"/meetings/{joined}/leave")
    world.meeting(host)
    assert listed(me) == [joined, invited, hosted]


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (5, [5]), (200, [5])])
def test_pages_together_are_the_list(world: World, host: Person, limit: int, sizes: list[int]):
    mine = [world.meeting(host, start=False) for _ in range(5)][::-1]
    found = pages(host, limit)
    assert [len(page) for page in found] == sizes
    assert [id_ for page in found for id_ in page] == mine


def test_what_is_made_while_somebody_pages_shifts_nothing(world: World, host: Person):
    mine = [world.meeting(host, start=False) for _ in range(4)][::-1]
    first = host.get("/meetings?limit=2")
    world.meeting(host, start=False)
    second = host.get(f"/meetings?limit=2&cursor={first.body['pagination']['next_cursor']}")
    assert [m["meeting_id"] for m in first.data + second.data] == mine


def test_s21_a_cursor_of_another_shows_nothing_of_theirs(world: World, host: Person):
    stranger = world.person()
    for person in (host, host, stranger):
        world.meeting(person, start=False)
    cursor = host.get("/meetings?limit=1").body["pagination"]["next_cursor"]
    assert set(listed(stranger, f"cursor={cursor}")) <= set(listed(stranger))


@pytest.mark.parametrize("cursor", ["AAAA", "bm9uc2Vuc2U", "Og", "YTpi", "MDFIWCc7LS0", "____", "=", "4pyT4pyT"])
def test_s75_a_cursor_that_is_not_ours_is_refused_or_harmless(world: World, host: Person, cursor: str):
    world.meeting(host, start=False)
    answer = host.get(f"/meetings?cursor={cursor}")
    if answer.status != 200:
        assert "cursor" in check_failure(answer, 422, "VALIDATION_ERROR").body["details"]


def test_a_list_is_filtered_by_status(world: World, host: Person):
    by_status: dict[str, str] = {}
    for status in ("scheduled", "in_progress", "completed", "cancelled"):
        meeting = world.meeting(host, start=status in ("in_progress", "completed"))
        if status == "completed":
            host.post(f"/meetings/{meeting}/end")
        if status == "cancelled":
            host.delete(f"/meetings/{meeting}")
        by_status[status] = meeting
    for status, meeting in by_status.items():
        assert listed(host, f"status={status}") == [meeting]


def test_a_list_is_filtered_by_when_its_meetings_begin(world: World, host: Person):
    january, february = (
        world.meeting(host, start=False, scheduled_start=f"2030-0{month}-01T10:00:00Z") for month in (1, 2)
    )
    now = world.meeting(host)
    assert listed(host, "from=2030-01-01T10:00:00Z") == [february, january]
    assert listed(host, "from=2030-01-01T10:00:00.001Z") == [february]
    assert listed(host, "to=2030-02-01T10:00:00Z") == [now, january]
    assert listed(host, "from=2030-01-01T11:00:00%2B01:00&to=2030-02-01T10:00:00Z") == [january]
    assert listed(host, "from=2030-01-15T00:00:00Z&to=2030-01-16T00:00:00Z") == []


def test_filters_hold_on_every_page(world: World, host: Person):
    wanted = []
    for i in range(6):
        meeting = world.meeting(host, start=i % 2 == 0)
        if i % 2 == 0:
            wanted.append(meeting)
    assert pages(host, 2, "status=in_progress") == [wanted[:0:-1], wanted[:1]]


def test_a_person_who_takes_part_in_many_ways_sees_a_meeting_once(world: World, host: Person):
    meeting = world.meeting(host)
    for _ in range(2):
        world.inside(meeting, host)
        host.post(f"/meetings/{meeting}/leave")
    assert listed(host) == [meeting]


def test_a_list_shows_meetings_as_they_are_read_alone(world: World, host: Person):
    meeting = world.meeting(host)
    [shown] = host.get("/meetings").data
    assert shown == host.get(f"/meetings/{meeting}").data
