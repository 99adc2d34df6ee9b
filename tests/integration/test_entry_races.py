"""Races at the door, between two web processes: what hosts decide while people press in (P5, P6, S50 to S58)."""

from collections import Counter
from typing import Any

import pytest

from tests.factories.scene import co_host
from tests.integration.arena import CALLERS, Arena, events, joined, outcomes, races, told
from tests.volley import Hit, volley

pytestmark = races
HELD: dict[str, Any] = {"require_waiting_room": True}


def seats_of(hits: list[Hit]) -> list[str]:
    return [hit.body["data"]["participant_id"] for hit in hits]


def test_p5_s50_of_many_who_admit_all_at_once_nobody_fills_more_than_the_seats(arena: Arena, round_: int) -> None:
    host, seats = arena.world.person(), 10
    meeting_id = arena.world.meeting(host, policy={**HELD, "max_participants": seats})
    waiting = volley(arena.shots(arena.crowd[:30], f"/meetings/{meeting_id}/join"))
    assert outcomes(waiting) == {"202": 30}
    admit, staff = f"/meetings/{meeting_id}/waiting-room/admit", [host, co_host(arena.world, meeting_id)]
    shots = arena.shots(staff * 3, admit, body={"all": True})
    for id_ in seats_of(waiting)[10:20]:
        shots += arena.shots(staff, admit, body={"participant_ids": [id_]})
    hits = volley([*shots[6::2], *shots[:6], *shots[7::2]])
    assert set(outcomes(hits)) <= {"200", "MAX_PARTICIPANTS_REACHED", "PARTICIPANT_NOT_FOUND"}
    admitted = [p["participant_id"] for hit in hits if hit.status == 200 for p in hit.body["data"]["admitted"]]
    assert len(admitted) == len(set(admitted)) == seats
    assert arena.seats(meeting_id) == len(joined(host, meeting_id)) == seats
    assert Counter(told(host, meeting_id)) == {"started": 1, "join": seats}
    assert len(host.get(f"/meetings/{meeting_id}/waiting-room").data) == 30 - seats


def test_p6_of_30_decisions_about_one_waiter_one_holds_and_one_is_told(arena: Arena, round_: int) -> None:
    host, waiter = arena.world.person(), arena.world.person()
    meeting_id = arena.world.meeting(host, policy=HELD)
    (id_,) = seats_of(volley(arena.shots([waiter], f"/meetings/{meeting_id}/join")))
    callers = [host, co_host(arena.world, meeting_id), host] * (CALLERS // 6)
    admits, denials = (
        arena.shots(callers, f"/meetings/{meeting_id}/waiting-room/{verb}", body={"participant_ids": [id_]})
        for verb in ("admit", "deny")
    )
    hits = volley([shot for pair in zip(admits, denials, strict=True) for shot in pair])
    assert outcomes(hits) == {"200": 1, "PARTICIPANT_NOT_FOUND": CALLERS - 1}
    is_admitted = any(hit.status == 200 for hit in hits[0::2])
    decided = [word for word in told(host, meeting_id, "hosts") if word in ("admitted", "denied")]
    assert decided == ["admitted" if is_admitted else "denied"]
    assert joined(host, meeting_id) == ([waiter.id] if is_admitted else [])
    assert told(host, meeting_id) == ["started", "join"][: 1 + is_admitted]
    assert host.get(f"/meetings/{meeting_id}/waiting-room").data == []


def test_s51_behind_a_lock_nobody_comes_in(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host)
    join, rules = f"/meetings/{meeting_id}/join", f"/meetings/{meeting_id}/security/policy"
    joins = arena.shots(arena.crowd[:40], join)
    lock = arena.shots([host], rules, method="PATCH", body={"lock_meeting": True})
    hits = volley([*joins[:20], *lock, *joins[20:]])
    assert hits.pop(20).status == 200
    assert set(outcomes(hits)) <= {"200", "MEETING_LOCKED"}
    words = told(host, meeting_id)
    assert words == ["started", *["join"] * outcomes(hits)["200"], "policy"]
    late = arena.shots([arena.crowd[40], co_host(arena.world, meeting_id)], join)
    assert outcomes(volley(late)) == {"MEETING_LOCKED": 1, "200": 1}
    assert len(joined(host, meeting_id)) == words.count("join") + 1


def test_s53_behind_a_ban_nobody_is_in_or_comes_in(arena: Arena, round_: int) -> None:
    host = arena.world.person()
    meeting_id = arena.world.meeting(host)
    staff, people = [host, co_host(arena.world, meeting_id)], arena.crowd[:10]
    join = f"/meetings/{meeting_id}/join"
    ids = seats_of(volley(arena.shots(people, join)))
    volley(arena.shots(people[:5], f"/meetings/{meeting_id}/leave"))
    joins = arena.shots(people * 4, join)
    bans = [
        shot
        for id_ in ids
        for shot in arena.shots(staff, f"/meetings/{meeting_id}/participants/{id_}/remove", body={"ban": True})
    ]
    hits = volley([*joins[:20], *bans, *joins[20:]])
    assert outcomes(hits[20:40]) == {"200": 20}
    assert set(outcomes([*hits[:20], *hits[40:]])) <= {"200", "USER_BLOCKED"}
    assert (joined(host, meeting_id), arena.seats(meeting_id)) == ([], 0)
    last = {event["data"]["participant_id"]: event["type"] for event in events(host, meeting_id)[1:]}
    assert last == dict.fromkeys(ids, "leave")
    again = arena.shots([*people, arena.crowd[10]], join)
    assert outcomes(volley(again)) == {"USER_BLOCKED": 10, "200": 1}


@pytest.mark.parametrize("target", ["each other", "themselves"])
def test_s58_of_two_hosts_who_demote_at_once_one_stays_host(arena: Arena, round_: int, target: str) -> None:
    ada, bob = arena.world.person(), arena.world.person()
    meeting_id = arena.world.meeting(ada)
    ids = seats_of(volley(arena.shots([ada, bob], f"/meetings/{meeting_id}/join")))
    assert ada.patch(f"/meetings/{meeting_id}/participants/{ids[1]}", {"role": "host"}).data["role"] == "host"
    targets = ids if target == "themselves" else ids[::-1]
    hers, his = (
        arena.shots(
            [who] * 10, f"/meetings/{meeting_id}/participants/{whom}", method="PATCH", body={"role": "attendee"}
        )
        for who, whom in zip((ada, bob), targets, strict=True)
    )
    hits = volley([shot for pair in zip(hers, his, strict=True) for shot in pair])
    assert set(outcomes(hits)) == {"200", "INSUFFICIENT_PERMISSION"}
    hosts = [p["participant_id"] for p in ada.get(f"/meetings/{meeting_id}/participants").data if p["role"] == "host"]
    assert len(hosts) == 1
    loser, keeper = (ada, bob) if hosts == [ids[1]] else (bob, ada)
    updates = [e["data"] for e in events(keeper, meeting_id) if e["type"] == "participant_update"]
    assert {one["role"] for one in updates if one["participant_id"] in hosts} <= {"host"}
    assert loser.post(f"/meetings/{meeting_id}/end").code == "INSUFFICIENT_PERMISSION"
    assert keeper.post(f"/meetings/{meeting_id}/end").status == 200
