"""Hosts and what they do to others: roles, flags, rights, removal, the waiting room."""

from typing import Any, NamedTuple

import pytest

from shared.core.ids import new_id
from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import Answer, Person, World
from web.http.pagination import encode_cursor


class House(NamedTuple):
    """A running meeting with three people inside."""

    world: World
    id: str
    host: Person
    deputy: Person
    ann: Person
    seats: dict[str, str]

    def path(self, rest: str) -> str:
        return f"/meetings/{self.id}{rest}"

    def change(self, who: Person, whom: Person, **changes: Any) -> Answer:
        return who.patch(self.path(f"/participants/{self.seats[whom.id]}"), changes)

    def remove(self, who: Person, whom: Person, **how: Any) -> Answer:
        return who.post(self.path(f"/participants/{self.seats[whom.id]}/remove"), how)

    def seen(self, whom: Person) -> dict[str, Any]:
        people = self.host.get(self.path("/participants?limit=200")).data
        return next(p for p in people if p["participant_id"] == self.seats[whom.id])

    def told(self, type_: str, stream: str = "meeting", who: Person | None = None) -> list[dict[str, Any]]:
        events = (who or self.host).get(self.path(f"/events?stream={stream}&limit=200")).data
        return [event["data"] for event in events if event["type"] == type_]

    def wait(self, person: Person, **wish: Any) -> str:
        answer = person.post(self.path("/join"), wish)
        assert answer.status == 202, answer.body
        self.seats[person.id or ""] = answer.data["participant_id"]
        return str(answer.data["participant_id"])


def furnish(world: World, **policy: Any) -> House:
    host, ann = world.person("Hosta"), world.person("Ann")
    meeting_id = world.meeting(host)
    deputy = co_host(world, meeting_id, "Deputa")
    seats = {seat["user_id"]: seat["participant_id"] for seat in world.inside(meeting_id, host, deputy, ann)}
    if policy:
        assert host.patch(f"/meetings/{meeting_id}/security/policy", policy).status == 200
    return House(world, meeting_id, host, deputy, ann, seats)


@pytest.fixture
def house(world: World) -> House:
    return furnish(world)


# --- flags and rights


def test_a_host_mutes_and_everybody_hears_it(house: House) -> None:
    answer = house.change(house.deputy, house.ann, is_muted=True)
    assert (answer.status, answer.data["is_muted"]) == (200, True)
    assert house.told("participant_update")[-1]["is_muted"] is True
    assert house.seen(house.ann)["is_muted"] is True


@pytest.mark.parametrize(
    "flags",
    [{"is_muted": False}, {"is_video_enabled": True}, {"is_screen_sharing": True}, {"is_hand_raised": True}],
)
def test_s29_what_may_be_taken_down_may_not_be_put_up(house: House, flags: dict[str, bool]) -> None:
    house.ann.put(house.path("/participants/status"), {"is_muted": True, "is_video_enabled": False})
    before = house.seen(house.ann)
    for who in (house.host, house.deputy):
        answer = house.change(who, house.ann, **flags)
        assert (answer.status, answer.code) == (403, "INSUFFICIENT_PERMISSION")
    assert house.seen(house.ann) == before


def test_a_host_may_unmute_themselves(house: House) -> None:
    assert house.change(house.host, house.host, is_muted=True).data["is_muted"] is True
    assert house.change(house.host, house.host, is_muted=False).data["is_muted"] is False


def test_p7_a_screen_that_only_hosts_may_show_ends_with_the_role(world: World) -> None:
    house = furnish(world, screen_share_permissions="host")
    share = house.path("/participants/status")
    assert house.deputy.put(share, {"is_screen_sharing": True}).status == 200
    assert house.change(house.host, house.deputy, role="attendee").status == 200
    assert house.seen(house.deputy)["is_screen_sharing"] is False
    assert [told["is_screen_sharing"] for told in house.told("screen_share", who=house.ann)] == [True, False]
    assert house.deputy.put(share, {"is_screen_sharing": True}).code == "SCREEN_SHARE_DISABLED"


def test_p7_a_screen_that_all_may_show_outlives_the_role(world: World) -> None:
    house = furnish(world)
    house.deputy.put(house.path("/participants/status"), {"is_screen_sharing": True})
    assert house.change(house.host, house.deputy, role="attendee").status == 200
    assert house.seen(house.deputy)["is_screen_sharing"] is True


def test_a_hand_and_a_screen_are_taken_down_and_told(house: House) -> None:
    house.ann.put(house.path("/participants/status"), {"is_screen_sharing": True, "is_hand_raised": True})
    assert house.change(house.host, house.ann, is_screen_sharing=False, is_hand_raised=False).status == 200
    assert house.told("hand_raise")[-1]["is_hand_raised"] is False
    assert house.told("screen_share")[-1]["is_screen_sharing"] is False
    assert house.host.get(house.path("/hands")).data == []


def test_s28_attendees_act_on_nobody(house: House) -> None:
    for whom in (house.host, house.deputy):
        assert house.change(house.ann, whom, is_muted=True).code == "INSUFFICIENT_PERMISSION"
        assert house.remove(house.ann, whom).code == "INSUFFICIENT_PERMISSION"
    assert house.change(house.world.person(), house.ann, is_muted=True).code == "MEETING_NOT_FOUND"
    assert house.change(house.deputy, house.host, is_muted=True).code == "INSUFFICIENT_PERMISSION"


def test_who_may_not_write_is_refused_on_chat_and_may_again(house: House) -> None:
    assert house.change(house.host, house.ann, can_chat=False).data["can_chat"] is False
    answer = house.ann.post(house.path("/chat"), {"content": "hello", "message_type": "text"})
    assert (answer.status, answer.code, answer.body["details"]["rule"]) == (403, "CHAT_DISABLED", "can_chat")
    house.change(house.host, house.ann, can_chat=True)
    assert house.ann.post(house.path("/chat"), {"content": "hello", "message_type": "text"}).status == 201


def test_who_may_not_publish_is_silent_and_stays_so_after_coming_back(house: House) -> None:
    seen = house.change(house.host, house.ann, can_publish=False).data
    assert (seen["is_muted"], seen["is_video_enabled"], seen["can_publish"]) == (True, False, False)
    answer = house.ann.put(house.path("/participants/status"), {"is_muted": False})
    assert (answer.code, answer.body["details"]["rule"]) == ("INSUFFICIENT_PERMISSION", "can_publish")
    house.ann.post(house.path("/leave"))
    again = house.ann.post(house.path("/join"), {"join_muted": False}).data
    assert (again["is_muted"], again["is_video_enabled"]) == (True, False)


@pytest.mark.parametrize("wrong", [{}, {"role": "king"}, {"status": "joined"}, {"is_muted": "yes"}, {"user_id": "x"}])
def test_s30_what_is_no_change_is_refused(house: House, wrong: dict[str, Any]) -> None:
    assert house.change(house.host, house.ann, **wrong).code == "VALIDATION_ERROR"


@pytest.mark.parametrize("whom", [UNKNOWN, "nobody"])
def test_s18_somebody_of_another_meeting_is_nobody_here(house: House, whom: str) -> None:
    other = furnish(house.world)
    for id_ in (whom, other.seats[other.ann.id]):
        for answer in (
            house.host.patch(house.path(f"/participants/{id_}"), {"is_muted": True}),
            house.host.post(house.path(f"/participants/{id_}/remove")),
            house.host.post(house.path(f"/participants/{id_}/send-to-waiting-room")),
            house.host.post(house.path("/waiting-room/admit"), {"participant_ids": [id_]}),
        ):
            assert (answer.status, answer.code) == (404, "PARTICIPANT_NOT_FOUND")
    assert other.seen(other.ann)["status"] == "joined"


# --- roles


def test_only_the_host_changes_roles(house: House) -> None:
    assert house.change(house.deputy, house.ann, role="co-host").code == "INSUFFICIENT_PERMISSION"
    assert house.change(house.host, house.ann, role="co-host").data["role"] == "co-host"
    assert house.told("participant_update")[-1]["role"] == "co-host"
    assert house.told("participant_update", "me", house.ann)[-1]["cursors"].keys() == {"hosts"}
    assert house.ann.get(house.path("/waiting-room")).status == 200
    assert house.change(house.host, house.ann, role="attendee").data["role"] == "attendee"
    assert house.ann.get(house.path("/waiting-room")).code == "INSUFFICIENT_PERMISSION"


def test_s29_there_is_always_a_host(house: House) -> None:
    answer = house.change(house.host, house.host, role="attendee")
    assert (answer.status, answer.code) == (403, "INSUFFICIENT_PERMISSION")
    assert house.change(house.host, house.ann, role="host").data["role"] == "host"
    assert house.change(house.host, house.host, role="attendee").data["role"] == "attendee"
    assert house.host.post(house.path("/end")).code == "INSUFFICIENT_PERMISSION"
    assert house.ann.post(house.path("/end")).status == 200


def test_p5_roles_and_seats_agree(world: World) -> None:
    house = furnish(world, max_participants=1)
    newcomer = world.person()
    assert newcomer.post(house.path("/join")).code == "MAX_PARTICIPANTS_REACHED"
    house.change(house.host, house.ann, role="co-host")
    assert newcomer.post(house.path("/join")).status == 200
    answer = house.change(house.host, house.ann, role="attendee")
    assert (answer.status, answer.code) == (403, "MAX_PARTICIPANTS_REACHED")
    assert house.seen(house.ann)["role"] == "co-host"


def test_a_guest_becomes_no_host(world: World) -> None:
    house = furnish(world, allow_anonymous_join=True)
    seat = world.nobody().post(house.path("/join"), {"display_name": "Gus"}).data
    path = house.path(f"/participants/{seat['participant_id']}")
    assert house.host.patch(path, {"role": "host"}).code == "VALIDATION_ERROR"
    assert house.host.patch(path, {"role": "co-host"}).data["role"] == "co-host"


# --- removal


def test_who_is_removed_finds_no_door_and_may_come_back_as_the_policy_says(house: House) -> None:
    answer = house.remove(house.deputy, house.ann, reason="noise")
    assert (answer.status, answer.data["status"]) == (200, "removed")
    for method, rest in (("GET", ""), ("GET", "/participants"), ("POST", "/chat"), ("POST", "/token")):
        assert house.ann.call(method, house.path(rest), {} if method == "POST" else None).status in (404, 422)
    assert house.ann.get(house.path("")).code == "MEETING_NOT_FOUND"
    left = house.told("leave")[-1]
    assert (left["participant_id"], left["status"], left["reason"]) == (house.seats[house.ann.id], "removed", "removed")
    assert house.host.get(house.path("/status")).data["active_participants"] == 2
    assert house.ann.post(house.path("/join")).status == 200


def test_a_ban_holds_on_every_door(house: House) -> None:
    assert house.remove(house.host, house.ann, ban=True).status == 200
    for _ in range(2):
        assert house.ann.post(house.path("/join")).code == "USER_BLOCKED"
        assert house.remove(house.host, house.ann).status == 200  # again, without: a ban is not lifted by that
    assert house.ann.post(house.path("/ws-ticket")).code == "MEETING_NOT_FOUND"
    assert house.host.post(house.path("/waiting-room/admit"), {"all": True}).data["admitted"] == []


def test_a_removed_guest_is_answered_as_a_removed_user(world: World) -> None:
    house = furnish(world, allow_anonymous_join=True)
    seat = world.nobody().post(house.path("/join"), {"display_name": "Gus"}).data
    guest = world.guest(seat["guest_token"])
    assert house.host.post(house.path(f"/participants/{seat['participant_id']}/remove"), {"ban": True}).status == 200
    assert guest.get(house.path("/participants")).code == "MEETING_NOT_FOUND"
    assert guest.post(house.path("/join")).code == "USER_BLOCKED"


def test_hosts_and_oneself_cannot_be_removed(house: House) -> None:
    for who, whom in ((house.host, house.host), (house.deputy, house.host), (house.deputy, house.deputy)):
        assert house.remove(who, whom).code == "INSUFFICIENT_PERMISSION"
    assert house.remove(house.host, house.deputy).status == 200


# --- the waiting room


@pytest.fixture
def held(world: World) -> House:
    return furnish(world, require_waiting_room=True)


def test_the_queue_is_in_order_and_for_hosts_only(held: House) -> None:
    people = [held.world.person() for _ in range(3)]
    ids = [held.wait(person) for person in people]
    seen = held.deputy.get(held.path("/waiting-room")).data
    assert [(w["participant_id"], w["position"]) for w in seen] == [(id_, n) for n, id_ in enumerate(ids, 1)]
    for person in (held.ann, people[0]):
        assert person.get(held.path("/waiting-room")).code == "INSUFFICIENT_PERMISSION"
        answer = person.post(held.path("/waiting-room/admit"), {"all": True})
        assert answer.code == "INSUFFICIENT_PERMISSION"
    assert held.world.person().get(held.path("/waiting-room")).code == "MEETING_NOT_FOUND"
    assert len(held.host.get(held.path("/waiting-room")).data) == 3


def test_the_queue_comes_in_pages(held: House) -> None:
    ids = [held.wait(held.world.person()) for _ in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        answer = held.host.get(held.path(f"/waiting-room?limit=2{cursor}"))
        seen += [(one["participant_id"], one["position"]) for one in answer.data]
        cursor = f"&cursor={answer.body['pagination']['next_cursor']}"
    assert seen == [(id_, n) for n, id_ in enumerate(ids, 1)]
    assert cursor == "&cursor=None"
    for wrong in ("x", "YTpi", encode_cursor("9" * 40, new_id())):
        assert held.host.get(held.path(f"/waiting-room?cursor={wrong}")).code == "VALIDATION_ERROR"


def test_some_are_admitted_the_others_move_up(held: House) -> None:
    first, second, third = (held.world.person() for _ in range(3))
    ids = [held.wait(person, join_muted=True) for person in (first, second, third)]
    answer = held.deputy.post(held.path("/waiting-room/admit"), {"participant_ids": [ids[1]]})
    assert [p["participant_id"] for p in answer.data["admitted"]] == [ids[1]]
    assert (answer.data["admitted"][0]["status"], answer.data["admitted"][0]["is_muted"]) == ("joined", True)
    assert held.wait(third) == ids[2]
    assert third.post(held.path("/join")).data["position"] == 2
    (admitted,) = held.told("waiting_room", "me", second)
    assert admitted["action"] == "admitted"
    joined = next(
        e for e in held.host.get(held.path("/events?limit=200")).data if e["data"].get("user_id") == second.id
    )
    assert admitted["cursors"] == {"meeting": joined["seq"]}
    assert held.told("waiting_room", "hosts")[-1]["action"] == "admitted"
    assert second.get(held.path("/participants")).status == 200


def test_s39_nobody_is_admitted_twice(held: House) -> None:
    id_ = held.wait(held.world.person())
    body = {"participant_ids": [id_]}
    assert held.host.post(held.path("/waiting-room/admit"), body).status == 200
    assert held.host.post(held.path("/waiting-room/admit"), body).code == "PARTICIPANT_NOT_FOUND"
    assert [j["participant_id"] for j in held.told("join")].count(id_) == 1


def test_s50_all_are_admitted_as_long_as_there_are_seats(world: World) -> None:
    held = furnish(world, require_waiting_room=True, max_participants=3)
    people = [world.person() for _ in range(4)]
    ids = [held.wait(person) for person in people]
    answer = held.host.post(held.path("/waiting-room/admit"), {"all": True})
    assert [p["participant_id"] for p in answer.data["admitted"]] == ids[:2]
    assert [p["participant_id"] for p in answer.data["waiting"]] == ids[2:]
    assert held.host.post(held.path("/waiting-room/admit"), {"all": True}).code == "MAX_PARTICIPANTS_REACHED"
    held.ann.post(held.path("/leave"))
    assert len(held.host.post(held.path("/waiting-room/admit"), {"all": True}).data["admitted"]) == 1


@pytest.mark.parametrize(
    "wrong", [{}, {"all": False}, {"all": True, "participant_ids": ["x"]}, {"participant_ids": []}]
)
def test_whom_to_admit_is_said_in_one_way(held: House, wrong: dict[str, Any]) -> None:
    assert held.host.post(held.path("/waiting-room/admit"), wrong).code == "VALIDATION_ERROR"


def test_who_is_denied_finds_no_door_and_may_ask_again(held: House) -> None:
    person = held.world.person()
    id_ = held.wait(person)
    answer = held.host.post(held.path("/waiting-room/deny"), {"participant_ids": [id_], "reason": "not today"})
    assert [(p["participant_id"], p["status"]) for p in answer.data["denied"]] == [(id_, "denied")]
    assert person.get(held.path("")).code == "MEETING_NOT_FOUND"
    assert held.told("waiting_room", "hosts")[-1]["action"] == "denied"
    assert held.wait(person) == id_


def test_who_was_admitted_once_comes_in_again_unless_sent_back(held: House) -> None:
    person = held.world.person()
    held.wait(person)
    held.host.post(held.path("/waiting-room/admit"), {"all": True})
    person.post(held.path("/leave"))
    assert person.post(held.path("/join")).status == 200
    answer = held.host.post(held.path(f"/participants/{held.seats[person.id]}/send-to-waiting-room"))
    assert (answer.status, answer.data["position"]) == (200, 1)
    held.host.patch(held.path("/security/policy"), {"require_waiting_room": False})
    assert person.post(held.path("/join")).status == 202
    assert person.get(held.path("/participants")).status == 403
    assert held.told("leave")[-1]["reason"] == "sent_back"
    held.host.post(held.path("/waiting-room/admit"), {"all": True})
    assert person.post(held.path("/join")).status == 200


def test_hosts_are_not_sent_back_and_waiters_are_removed(held: House) -> None:
    for whom in (held.host, held.deputy):
        path = held.path(f"/participants/{held.seats[whom.id]}/send-to-waiting-room")
        assert held.host.post(path).code == "INSUFFICIENT_PERMISSION"
    person = held.world.person()
    held.wait(person)
    assert held.remove(held.host, person, ban=True).data["status"] == "removed"
    assert held.told("waiting_room", "hosts")[-1]["action"] == "removed"
    assert person.post(held.path("/join")).code == "USER_BLOCKED"


def test_a_message_reaches_all_who_wait_and_nobody_else(held: House) -> None:
    people = [held.world.person() for _ in range(2)]
    for person in people:
        held.wait(person)
    answer = held.host.post(held.path("/waiting-room/message"), {"text": "Five more minutes."})
    assert answer.data == {"recipients": 2}
    held.host.post(held.path("/waiting-room/admit"), {"all": True})
    for person in people:
        assert [one.get("text") for one in held.told("waiting_room", "me", person)] == ["Five more minutes.", None]
    assert "Five more" not in str(held.host.get(held.path("/events?limit=200")).body)
    assert held.ann.post(held.path("/waiting-room/message"), {"text": "x"}).code == "INSUFFICIENT_PERMISSION"


def test_who_is_not_inside_is_nothing_to_attendees(held: House) -> None:
    waiter = held.world.person()
    held.wait(waiter)
    assert held.change(held.host, waiter, can_chat=False).status == 200
    assert held.told("participant_update", "hosts")[-1]["participant_id"] == held.seats[waiter.id]
    assert waiter.id not in str(held.ann.get(held.path("/events?limit=200")).body)


def test_hosts_are_bound_by_the_rules_on_every_door(world: World) -> None:
    house = furnish(world, screen_share_permissions="none", enable_hand_raise=False)
    assert house.change(house.host, house.host, is_screen_sharing=True).code == "SCREEN_SHARE_DISABLED"
    assert house.change(house.host, house.host, is_hand_raised=True).code == "HAND_RAISE_DISABLED"
    house.change(house.host, house.deputy, can_chat=False)
    assert house.change(house.deputy, house.deputy, can_chat=True).code == "INSUFFICIENT_PERMISSION"
    answer = house.change(house.host, house.host, can_publish=False, is_muted=False)
    assert (answer.data["can_publish"], answer.data["is_muted"]) == (False, True)
