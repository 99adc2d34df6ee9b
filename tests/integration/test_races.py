"""Races between processes: two web processes on one database, many requests at the same moment (P5, P6)."""

from collections import Counter

from tests.factories.scene import co_host
from tests.integration.arena import CALLERS, CAPACITY, CROWD, Arena, joined, outcomes, races, told
from tests.volley import volley

pytestmark = races


def test_p5_s49_of_200_joins_at_once_exactly_as_many_as_there_are_seats_enter(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host, policy={"max_participants": CAPACITY})
    hits = volley(arena.shots(arena.crowd, f"/meetings/{meeting_id}/join"))
    assert outcomes(hits) == {"200": CAPACITY, "MAX_PARTICIPANTS_REACHED": CROWD - CAPACITY}
    entered = {person.id for person, hit in zip(arena.crowd, hits, strict=True) if hit.status == 200}
    assert set(joined(host, meeting_id)) == entered
    assert arena.seats(meeting_id) == CAPACITY
    assert Counter(told(host, meeting_id)) == {"started": 1, "join": CAPACITY}
    everybody = host.get(f"/meetings/{meeting_id}/participants?limit=200").data
    assert len(everybody) == CAPACITY + 1  # who was refused has no place


def test_p5_seats_that_become_free_are_never_given_twice(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host, policy={"max_participants": 10})
    inside, outside = arena.crowd[:10], arena.crowd[10:60]
    assert outcomes(volley(arena.shots(inside, f"/meetings/{meeting_id}/join"))) == {"200": 10}
    hits = volley(
        [
            *arena.shots(inside, f"/meetings/{meeting_id}/leave"),
            *arena.shots(outside, f"/meetings/{meeting_id}/join"),
        ]
    )
    assert outcomes(hits[:10]) == {"200": 10}
    assert set(outcomes(hits[10:])) <= {"200", "MAX_PARTICIPANTS_REACHED"}
    entered = outcomes(hits[10:])["200"]
    assert entered <= 10
    assert arena.seats(meeting_id) == len(joined(host, meeting_id)) == entered
    inside_then = 0
    for word in told(host, meeting_id):
        inside_then += {"join": 1, "leave": -1}.get(word, 0)
        assert 0 <= inside_then <= 10


def test_p5_one_person_who_joins_ten_times_at_once_has_one_seat(arena: Arena, round_: int) -> None:
    host, ada = arena.world.person(), arena.world.person()
    meeting_id = arena.world.meeting(host)
    hits = volley(arena.shots([ada] * 10, f"/meetings/{meeting_id}/join"))
    assert outcomes(hits) == {"200": 10}
    assert len({hit.body["data"]["participant_id"] for hit in hits}) == 1
    assert joined(host, meeting_id) == [ada.id]
    assert (arena.seats(meeting_id), told(host, meeting_id)) == (1, ["started", "join"])


def test_p6_of_30_starts_at_once_one_succeeds_and_one_is_told(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host, start=False)
    callers = [host, co_host(arena.world, meeting_id)] * (CALLERS // 2)
    hits = volley(arena.shots(callers, f"/meetings/{meeting_id}/start"))
    assert outcomes(hits) == {"200": 1, "MEETING_ALREADY_ACTIVE": CALLERS - 1}
    assert told(host, meeting_id) == ["started"]
    (winner,) = (person for person, hit in zip(callers, hits, strict=True) if hit.status == 200)
    assert host.get(f"/meetings/{meeting_id}/events").data[0]["user_id"] == winner.id


def test_p6_of_30_ends_at_once_one_succeeds_and_one_is_told(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host)
    hits = volley(arena.shots([host] * CALLERS, f"/meetings/{meeting_id}/end"))
    assert outcomes(hits) == {"200": 1, "MEETING_ENDED": CALLERS - 1}
    assert told(host, meeting_id) == ["started", "ended"]


def test_p6_start_against_end_has_one_order_and_no_third_outcome(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host, start=False)
    starts, ends = (arena.shots([host] * (CALLERS // 2), f"/meetings/{meeting_id}/{step}") for step in ("start", "end"))
    hits = volley([shot for pair in zip(starts, ends, strict=True) for shot in pair])
    started, ended = outcomes(hits[0::2]), outcomes(hits[1::2])
    assert started["200"] == 1
    assert set(started) <= {"200", "MEETING_ALREADY_ACTIVE", "MEETING_ENDED"}
    assert set(ended) <= {"200", "MEETING_NOT_ACTIVE", "MEETING_ENDED"}
    assert ended["200"] <= 1
    assert told(host, meeting_id) == ["started", "ended"][: 1 + ended["200"]]
    assert bool(ended["MEETING_ENDED"] or started["MEETING_ENDED"]) <= bool(ended["200"])


def test_p6_start_against_cancel_has_one_winner(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host, start=False)
    starts = arena.shots([host] * 10, f"/meetings/{meeting_id}/start")
    cancels = arena.shots([host] * 10, f"/meetings/{meeting_id}", method="DELETE")
    hits = volley([shot for pair in zip(starts, cancels, strict=True) for shot in pair])
    assert outcomes(hits)["200"] == 1
    won = "started" if outcomes(hits[0::2])["200"] else "cancelled"
    lost = {"started": {"MEETING_ALREADY_ACTIVE"}, "cancelled": set[str]()}[won]
    assert set(outcomes(hits)) - {"200"} <= lost | {"INVALID_MEETING_STATE"}
    assert told(host, meeting_id) == [won]


def test_s52_behind_the_end_nobody_is_in_and_nothing_is_told(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host)
    first, people = arena.crowd[:6], arena.crowd[6:46]
    seats = volley(arena.shots(first, f"/meetings/{meeting_id}/join"))
    ids = [hit.body["data"]["participant_id"] for hit in seats]
    joins = arena.shots(people, f"/meetings/{meeting_id}/join")
    chats = arena.shots(first, f"/meetings/{meeting_id}/chat", body={"content": "hello"})
    for person, other in zip(first, reversed(ids), strict=True):
        chats += arena.shots([person], f"/meetings/{meeting_id}/chat", body={"content": "psst", "recipient_id": other})
    end = arena.shots([host], f"/meetings/{meeting_id}/end")
    hits = volley([*joins[:20], *chats[:6], *end, *joins[20:], *chats[6:]])
    entered, ended, wrote = [*hits[:20], *hits[27:47]], hits[26], [*hits[20:26], *hits[47:]]
    assert ended.status == 200
    assert set(outcomes(entered)) <= {"200", "MEETING_ENDED"}
    assert set(outcomes(wrote)) <= {"201", "MEETING_ENDED"}
    words = told(host, meeting_id)
    assert words[-1] == "ended"
    assert words.count("join") == 6 + outcomes(entered)["200"]
    public = [hit for hit in wrote if hit.status == 201 and not hit.body["data"]["is_private"]]
    assert words.count("posted") == len(public)
    assert joined(host, meeting_id) == []
    assert arena.seats(meeting_id) == 0


def test_joins_chat_and_flags_at_once_do_not_wait_in_a_circle(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host)
    first, people = arena.crowd[:10], arena.crowd[10:50]
    volley(arena.shots(first, f"/meetings/{meeting_id}/join"))
    joins = arena.shots(people, f"/meetings/{meeting_id}/join")
    chats = arena.shots(first * 2, f"/meetings/{meeting_id}/chat", body={"content": "hello"})
    flags = arena.shots(
        first * 2, f"/meetings/{meeting_id}/participants/status", method="PUT", body={"is_hand_raised": True}
    )
    hits = volley([shot for group in zip(joins[:20], chats, flags, joins[20:], strict=True) for shot in group])
    assert outcomes(hits) == {"200": 60, "201": 20}
    assert Counter(told(host, meeting_id)) == {
        "started": 1,
        "join": 50,
        "posted": 20,
        "participant_update": 20,
        "hand_raise": 20,
    }


def test_s41_bans_all_over_a_series_and_meetings_added_to_it_do_not_wait_in_a_circle(arena: Arena, round_: int) -> None:
    """A ban locks all meetings of its series; a meeting that is added meanwhile inherits it, or is found by it."""
    host, rude = arena.world.person(), arena.crowd[:8]
    first = arena.world.meeting(host)
    series = [first, *(arena.world.meeting(host, series_of=first) for _ in range(3))]
    bans = []
    for n, meeting_id in enumerate(series):
        seats = arena.world.inside(meeting_id, *rude[n * 2 : n * 2 + 2])
        for seat in seats:
            path = f"/meetings/{meeting_id}/participants/{seat['participant_id']}/remove"
            bans += arena.shots([host], path, body={"ban": True})
    added = arena.shots([host] * 8, "/meetings", body={"title": "Next", "series_of": first})
    hits = volley([shot for pair in zip(bans, added, strict=True) for shot in pair])
    assert outcomes(hits) == {"200": 8, "201": 8}
    series += [hit.body["data"]["meeting_id"] for hit in hits if hit.status == 201]
    for meeting_id in series[4:]:
        assert host.post(f"/meetings/{meeting_id}/start").status == 200
    refused = volley([shot for id_ in series for shot in arena.shots(rude, f"/meetings/{id_}/join")])
    assert outcomes(refused) == {"USER_BLOCKED": len(series) * 8}


def test_s93_an_edit_against_a_deletion_leaves_a_tombstone(arena: Arena, round_: int) -> None:
    host, ada = arena.world.person(), arena.world.person()
    meeting_id = arena.world.meeting(host)
    arena.world.inside(meeting_id, host, ada)
    said = ada.post(f"/meetings/{meeting_id}/chat", {"content": "the secret word"}).data["message_id"]
    path = f"/meetings/{meeting_id}/chat/{said}"
    edits = arena.shots([ada] * 6, path, method="PATCH", body={"content": "another secret word"})
    deletions = arena.shots([host, ada], path, method="DELETE")
    hits = volley([*edits[:3], *deletions, *edits[3:]])
    assert outcomes(hits[3:5]) == {"200": 2}
    assert set(outcomes(hits)) <= {"200", "NOT_FOUND"}
    assert host.get(f"/meetings/{meeting_id}/chat").data[0]["content"] is None
    assert told(host, meeting_id).count("deleted") == 1
    assert "secret" not in str(host.get(f"/meetings/{meeting_id}/events").body)


def test_p21_two_people_who_write_to_each_other_at_once_do_not_wait_in_a_circle(arena: Arena, round_: int) -> None:
    host, ada, bob = (arena.world.person() for _ in range(3))
    meeting_id = arena.world.meeting(host)
    _, hers, his = arena.world.inside(meeting_id, host, ada, bob)
    path = f"/meetings/{meeting_id}/chat"
    to_bob = arena.shots([ada] * 10, path, body={"content": "a", "recipient_id": his["participant_id"]})
    to_ada = arena.shots([bob] * 10, path, body={"content": "b", "recipient_id": hers["participant_id"]})
    hits = volley([shot for pair in zip(to_bob, to_ada, strict=True) for shot in pair])
    assert outcomes(hits) == {"201": 20}
    for person in (ada, bob):
        mine = person.get(f"/meetings/{meeting_id}/events?stream=me&limit=200").data
        assert [event["seq"] for event in mine] == list(range(1, 21))
