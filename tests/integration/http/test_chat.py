"""Chat over REST: who writes, who reads, and what stays after an edit or a deletion."""

import json
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import Answer, Person, World
from web.http.pagination import encode_cursor

FIELDS = {
    "message_id",
    "stream",
    "seq",
    "sender_id",
    "sender_name",
    "content",
    "message_type",
    "recipient_id",
    "is_private",
    "reply_to",
    "file",
    "timestamp",
    "edited_at",
    "is_deleted",
}
FILE = {"name": "plan.pdf", "url": "https://files.example.com/plan.pdf", "size": 12, "mime_type": "application/pdf"}


class Room:
    """A running meeting with a host, Ada and Bob inside, and short words for its chat."""

    def __init__(self, world: World, **policy: Any) -> None:
        self.host, self.ada, self.bob = world.person("Host"), world.person("Ada"), world.person("Bob")
        self.id = world.meeting(self.host, policy=policy)
        self.path = f"/meetings/{self.id}/chat"
        seats = world.inside(self.id, self.host, self.ada, self.bob)
        self.host_id, self.ada_id, self.bob_id = (seat["participant_id"] for seat in seats)

    def say(self, who: Person, content: str = "hello", **more: Any) -> dict[str, Any]:
        answer = self.write(who, content, **more)
        assert answer.status == 201, answer.body
        data: dict[str, Any] = answer.data
        return data

    def write(self, who: Person, content: Any = "hello", **more: Any) -> Answer:
        return who.post(self.path, {"content": content, "message_type": "text", **more})

    def read(self, who: Person, query: str = "") -> list[str | None]:
        return [message["content"] for message in who.get(f"{self.path}{query}").data]

    def events(self, who: Person, stream: str = "meeting") -> list[dict[str, Any]]:
        events = who.get(f"/meetings/{self.id}/events?stream={stream}&limit=200").data
        return [event for event in events if event["type"] == "chat"]


def test_a_message_is_answered_read_and_told_alike(world: World) -> None:
    room = Room(world)
    said = room.say(room.ada, "hello")
    assert set(said) == FIELDS
    assert (said["stream"], said["sender_id"], said["sender_name"]) == ("meeting", room.ada_id, "Ada")
    assert (said["recipient_id"], said["is_private"], said["is_deleted"]) == (None, False, False)
    for reader in (room.host, room.ada, room.bob):
        assert reader.get(room.path).data == [said]
        (event,) = room.events(reader)
        assert (event["stream"], event["seq"], event["user_id"]) == (said["stream"], said["seq"], room.ada.id)
        assert event["data"] == {"action": "posted", **{n: said[n] for n in FIELDS - {"stream", "seq"}}}


@pytest.mark.parametrize(
    ("message_type", "content", "more"),
    [
        ("text", " spaces stay \n", {}),
        ("emoji", "🎉", {}),
        ("link", "https://example.com/a?b=c", {}),
        ("file", "the plan", {"file": FILE}),
        ("file", "the plan", {"file": {"name": "x", "url": "http://example.com/x"}}),
        ("text", "x" * 4000, {}),
        ("text", "😀" * 4000, {}),
    ],
)
def test_every_type_of_message_is_kept_as_it_was_said(
    world: World, message_type: str, content: str, more: dict[str, Any]
) -> None:
    room = Room(world)
    said = room.say(room.ada, content, message_type=message_type, **more)
    (read,) = room.bob.get(room.path).data
    assert (read["message_type"], read["content"], read["file"]) == (message_type, content, more.get("file"))
    assert said == read


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": ""},
        {"content": " \n\t"},
        {"content": "x" * 4001},
        {"content": None},
        {"content": 1},
        {"content": ["x"]},
        {"content": "nul\0"},
        {"content": "x", "message_type": "video"},
        {"content": "x", "message_type": "file"},
        {"content": "x", "message_type": "text", "file": FILE},
        {"content": "x", "message_type": "file", "file": {**FILE, "url": "javascript:alert(1)"}},
        {"content": "x", "message_type": "file", "file": {**FILE, "url": "data:text/html,x"}},
        {"content": "x", "message_type": "file", "file": {**FILE, "path": "/etc/passwd"}},
        {"content": "x", "message_type": "file", "file": {**FILE, "size": -1}},
        {"content": "javascript:alert(1)", "message_type": "link"},
        {"content": "no link", "message_type": "link"},
        {"content": "http://[", "message_type": "link"},
        {"content": "x", "sender_id": "somebody"},
        {"content": "x", "user_id": "somebody"},
        {"content": "x", "seq": 1},
        {"content": "x", "is_private": True},
        {"content": "x", "recipient_id": ""},
        {"content": "x", "recipient_id": 7},
    ],
)
def test_what_is_no_message_is_422_and_nobody_hears_of_it(world: World, body: dict[str, Any]) -> None:
    room = Room(world)
    answer = room.ada.post(room.path, body)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR"), answer.body
    assert room.read(room.bob) == []
    assert room.events(room.bob) == []


def test_s86_a_private_message_is_for_its_two_ends_and_not_for_hosts(world: World) -> None:
    room = Room(world)
    second = co_host(world, room.id)
    world.inside(room.id, second)
    said = room.say(room.ada, "psst", recipient_id=room.bob_id)
    assert (said["stream"], said["seq"], said["recipient_id"], said["is_private"]) == ("me", 1, room.bob_id, True)
    for end in (room.ada, room.bob):
        assert room.read(end) == ["psst"]
        (event,) = room.events(end, "me")
        assert (event["data"]["message_id"], event["stream"]) == (said["message_id"], "me")
    for other in (room.host, second):
        assert room.read(other) == []
        for stream in ("meeting", "me", "hosts"):
            assert room.events(other, stream) == []
        for method, path, body in (
            ("PATCH", "", {"content": "x"}),
            ("DELETE", "", None),
            ("POST", "/reactions", {"emoji": "x"}),
        ):
            answer = other.call(method, f"{room.path}/{said['message_id']}{path}", body)
            random = other.call(method, f"{room.path}/{new_id()}{path}", body)
            assert answer.status == random.status == 404
            assert (answer.code, answer.body["message"]) == (random.code, random.body["message"])
        assert room.write(other, "about that", reply_to=said["message_id"]).status == 404
    assert "psst" not in json.dumps(room.host.get(f"/meetings/{room.id}/snapshot").body)


def test_a_private_message_goes_to_somebody_else_who_is_inside(world: World) -> None:
    room, elsewhere = Room(world), Room(world)
    room.bob.post(f"/meetings/{room.id}/leave")
    for recipient in (room.bob_id, elsewhere.ada_id, new_id(), room.bob.id, "nonsense"):
        answer = room.write(room.ada, recipient_id=recipient)
        assert (answer.status, answer.code) == (404, "PARTICIPANT_NOT_FOUND")
    answer = room.write(room.ada, recipient_id=room.ada_id)
    assert (answer.status, list(answer.body["details"])) == (422, ["recipient_id"])
    assert room.events(room.ada, "me") == []
    assert room.say(room.ada, recipient_id=room.host_id)["is_private"] is True
    assert room.read(room.bob) == []


def test_a_reply_names_a_message_that_its_author_may_read(world: World) -> None:
    room = Room(world)
    elsewhere = Room(world)
    first = room.say(room.host, "question")
    assert room.say(room.ada, "answer", reply_to=first["message_id"])["reply_to"] == first["message_id"]
    theirs = elsewhere.say(elsewhere.ada)
    for unknown in (theirs["message_id"], new_id(), "nonsense"):
        answer = room.write(room.ada, "answer", reply_to=unknown)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert room.read(room.bob) == ["question", "answer"]


@pytest.mark.parametrize(
    ("permission", "staff_may", "attendee_may"), [("all", True, True), ("host", True, False), ("none", False, False)]
)
def test_s96_chat_that_is_switched_off_is_refused_in_every_way(
    world: World, permission: str, staff_may: bool, attendee_may: bool
) -> None:
    room = Room(world, chat_permissions=permission)
    second = co_host(world, room.id)
    world.inside(room.id, second)
    for person, may in ((room.host, staff_may), (second, staff_may), (room.ada, attendee_may)):
        before = room.read(room.bob)
        answers = [room.write(person)]
        if may:
            at = f"{room.path}/{answers[0].data['message_id']}"
            answers += [person.patch(at, {"content": "edited"}), person.post(f"{at}/reactions", {"emoji": "x"})]
            assert [answer.status for answer in answers] == [201, 200, 201]
            continue
        at = f"{room.path}/{new_id()}"
        answers += [person.patch(at, {"content": "x"}), person.post(f"{at}/reactions", {"emoji": "x"})]
        answers.append(room.write(person, recipient_id=room.bob_id))
        answers.append(person.post(room.path, {"content": "hello"}, headers={"Idempotency-Key": "k"}))
        for answer in answers:
            assert (answer.status, answer.code) == (403, "CHAT_DISABLED")
        assert room.read(room.bob) == before
        assert room.events(room.bob, "me") == []


def test_files_that_are_switched_off_are_refused_to_all(world: World) -> None:
    room = Room(world, enable_file_sharing=False)
    for person in (room.host, room.ada):
        answer = room.write(person, "the plan", message_type="file", file=FILE)
        assert (answer.status, answer.code) == (403, "FILE_SHARING_DISABLED")
    assert room.read(room.bob) == []
    room.say(room.ada, "https://example.com", message_type="link")


def test_only_who_is_inside_writes_and_only_who_is_or_was_reads(world: World) -> None:
    room = Room(world)
    room.say(room.ada)
    room.bob.post(f"/meetings/{room.id}/leave")
    for person, write, read in (
        (room.bob, 403, 200),
        (world.person(), 404, 404),
        (world.nobody(), 401, 401),
        (room.ada, 201, 200),
    ):
        assert (room.write(person).status, person.get(room.path).status) == (write, read)
    room.host.post(f"/meetings/{room.id}/end")
    assert room.write(room.ada).code == "MEETING_ENDED"
    assert len(room.read(room.ada)) == 2


# --- edit, delete, react


def test_the_author_edits_and_all_are_told(world: World) -> None:
    room = Room(world)
    said = room.say(room.ada, "helo")
    answer = room.ada.patch(f"{room.path}/{said['message_id']}", {"content": "hello"})
    assert answer.status == 200
    assert answer.data == {**said, "content": "hello", "edited_at": answer.data["edited_at"]}
    assert answer.data["edited_at"] is not None
    assert room.bob.get(room.path).data == [answer.data]
    assert [(e["data"]["action"], e["data"]["content"]) for e in room.events(room.bob)] == [
        ("posted", "hello"),
        ("edited", "hello"),
    ]


@pytest.mark.parametrize(
    "body", [{}, {"content": ""}, {"content": "  "}, {"content": "x" * 4001}, {"content": "x", "a": 1}]
)
def test_s93_an_edit_obeys_the_rules_of_a_message(world: World, body: dict[str, Any]) -> None:
    room = Room(world)
    said = room.say(room.ada, "as it was")
    assert room.ada.patch(f"{room.path}/{said['message_id']}", body).status == 422
    assert room.read(room.bob) == ["as it was"]


def test_s92_an_edited_link_is_still_a_link(world: World) -> None:
    room = Room(world)
    said = room.say(room.ada, "https://example.com", message_type="link")
    answer = room.ada.patch(f"{room.path}/{said['message_id']}", {"content": "javascript:alert(1)"})
    assert (answer.status, list(answer.body["details"])) == (422, ["content"])
    assert room.read(room.bob) == ["https://example.com"]


def test_s93_nobody_edits_for_another_and_only_staff_delete_for_others(world: World) -> None:
    room = Room(world)
    second = co_host(world, room.id)
    world.inside(room.id, second)
    said = room.say(room.ada, "hers")
    at = f"{room.path}/{said['message_id']}"
    for person in (room.bob, room.host, second):
        answer = person.patch(at, {"content": "not hers"})
        assert (answer.status, answer.code) == (403, "INSUFFICIENT_PERMISSION")
    assert room.bob.delete(at).code == "INSUFFICIENT_PERMISSION"
    assert room.read(room.bob) == ["hers"]
    for staff in (second, room.host):
        said = room.say(room.ada, "hers")
        assert staff.delete(f"{room.path}/{said['message_id']}").status == 200
    assert room.read(room.bob) == ["hers", None, None]
    mine = room.say(room.host, "the host's own")
    assert second.delete(f"{room.path}/{mine['message_id']}").status == 200


@pytest.mark.parametrize("is_private", [False, True])
def test_s93_a_deletion_leaves_a_tombstone_also_for_who_reads_the_events_again(world: World, is_private: bool) -> None:
    room = Room(world)
    to = {"recipient_id": room.bob_id} if is_private else {}
    said = room.say(room.ada, "the secret word", **to)
    at = f"{room.path}/{said['message_id']}"
    room.ada.patch(at, {"content": "another secret word"})
    room.ada.patch(at, {"content": "a third secret word"})
    answer = room.ada.delete(at)
    assert answer.status == 200
    assert (answer.data["content"], answer.data["is_deleted"], answer.data["seq"]) == (None, True, said["seq"])
    stream = "me" if is_private else "meeting"
    for reader in (room.ada, room.bob):
        assert reader.get(room.path).data == [
            answer.data if reader is room.ada or not is_private else {**answer.data, "seq": 1}
        ]
        events = room.events(reader, stream)
        assert [event["data"]["action"] for event in events] == ["posted", "edited", "edited", "deleted"]
        assert all(event["data"]["content"] is None and event["data"]["is_deleted"] for event in events)
        assert "secret" not in json.dumps(reader.get(f"/meetings/{room.id}/events?stream={stream}").body)
    again = room.ada.delete(at)
    assert (again.status, again.data) == (200, answer.data)
    assert len(room.events(room.bob, stream)) == 4
    for refused in (
        room.ada.patch(at, {"content": "back"}),
        room.bob.post(f"{at}/reactions", {"emoji": "x"}),
    ):
        assert (refused.status, refused.code) == (404, "NOT_FOUND")


def test_a_file_is_gone_with_its_message(world: World) -> None:
    room = Room(world)
    said = room.say(room.ada, "the plan", message_type="file", file=FILE)
    room.ada.delete(f"{room.path}/{said['message_id']}")
    assert room.bob.get(room.path).data[0]["file"] is None
    assert "plan.pdf" not in json.dumps(room.events(room.bob))


def test_a_reaction_counts_once_for_each_person_and_emoji(world: World) -> None:
    room = Room(world)
    said = room.say(room.ada)
    at = f"{room.path}/{said['message_id']}/reactions"
    given = [(room.bob, room.bob_id, "🎉"), (room.bob, room.bob_id, "🎉"), (room.bob, room.bob_id, "👍")]
    for person, participant_id, emoji in [*given, (room.host, room.host_id, "🎉")]:
        answer = person.post(at, {"emoji": emoji})
        assert (answer.status, answer.data) == (
            201,
            {"message_id": said["message_id"], "participant_id": participant_id, "emoji": emoji},
        )
    told = [event["data"] for event in room.events(room.ada) if event["data"]["action"] == "reaction"]
    assert [(data["participant_id"], data["emoji"]) for data in told] == [
        (room.bob_id, "🎉"),
        (room.bob_id, "👍"),
        (room.host_id, "🎉"),
    ]
    for body in ({}, {"emoji": ""}, {"emoji": "x" * 33}, {"emoji": "x", "user_id": "y"}):
        assert room.bob.post(at, body).status == 422


@pytest.mark.parametrize("message_id", [UNKNOWN, "nonsense"])
def test_a_message_that_does_not_exist_is_404(world: World, message_id: str) -> None:
    room = Room(world)
    elsewhere = Room(world)
    theirs = elsewhere.say(elsewhere.ada, "theirs")["message_id"]
    for id_ in (message_id, theirs):
        at = f"{room.path}/{id_}"
        for answer in (
            room.host.patch(at, {"content": "x"}),
            room.host.delete(at),
            room.host.post(f"{at}/reactions", {"emoji": "x"}),
        ):
            assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert elsewhere.read(elsewhere.bob) == ["theirs"]


# --- history


def test_s87_history_before_joining_is_not_shown(world: World) -> None:
    room = Room(world)
    late = world.person("Late")
    room.say(room.host, "early")
    world.inside(room.id, late)
    room.say(room.host, "with you")
    late.post(f"/meetings/{room.id}/leave")
    room.say(room.host, "behind your back")
    assert room.read(late) == ["with you"]
    world.inside(room.id, late)
    room.say(room.host, "again")
    assert room.read(late) == ["with you", "again"]
    assert room.read(late, "?after_seq=0") == room.read(late, "?offset=0") == ["with you", "again"]
    shown = [event["data"]["content"] for event in room.events(late)]
    assert shown == ["with you", "again"]
    whole = ["early", "with you", "behind your back", "again"]
    assert room.read(room.ada) == room.read(room.host) == room.read(co_host(world, room.id)) == whole


def test_the_history_comes_in_pages_oldest_first_by_cursor_offset_and_seq(world: World) -> None:
    room = Room(world)
    seqs = [room.say(room.ada, f"m{n}")["seq"] for n in range(5)]
    room.say(room.ada, "psst", recipient_id=room.bob_id)
    seqs.append(room.say(room.bob, "end")["seq"])
    every = ["m0", "m1", "m2", "m3", "m4", "psst", "end"]
    assert room.read(room.ada) == room.read(room.bob) == every
    assert room.read(room.host) == [content for content in every if content != "psst"]

    found: list[str | None] = []
    query = "?limit=2"
    while True:
        page = room.ada.get(f"{room.path}{query}")
        found += [message["content"] for message in page.data]
        if page.body["pagination"]["next_cursor"] is None:
            break
        assert len(page.data) == 2
        query = f"?limit=2&cursor={page.body['pagination']['next_cursor']}"
    assert found == every

    assert room.read(room.ada, "?limit=3&offset=3") == ["m3", "m4", "psst"]
    assert room.read(room.ada, "?offset=7") == []
    assert room.read(room.ada, f"?before_seq={seqs[2]}") == ["m0", "m1"]
    assert room.read(room.ada, f"?after_seq={seqs[3]}") == ["m4", "psst", "end"]
    assert room.read(room.ada, f"?after_seq={seqs[4]}") == ["psst", "end"]
    assert room.read(room.ada, f"?after_seq={seqs[0]}&before_seq={seqs[3]}&limit=1") == ["m1"]
    assert room.read(room.host, f"?after_seq={seqs[4]}") == ["end"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "offset=-1",
        "before_seq=x",
        "after_seq=-1",
        "after_seq=1.5",
        "cursor=x",
        "cursor=eDp5Onoh",
        f"cursor={encode_cursor('9' * 40, UNKNOWN)}",
        "who=me",
    ],
)
def test_a_page_that_makes_no_sense_is_422(world: World, query: str) -> None:
    room = Room(world)
    answer = room.ada.get(f"{room.path}?{query}")
    assert (answer.status, list(answer.body["details"])) == (422, [query.partition("=")[0]])


def test_a_message_sent_again_with_its_key_is_one_message(world: World) -> None:
    room = Room(world)
    headers = {"Idempotency-Key": "message-1"}
    first = room.ada.post(room.path, {"content": "once"}, headers=headers)
    again = room.ada.post(room.path, {"content": "once"}, headers=headers)
    assert (again.status, again.body) == (201, first.body)
    assert room.ada.post(room.path, {"content": "other"}, headers=headers).code == "IDEMPOTENCY_KEY_REUSED"
    assert room.read(room.bob) == ["once"]
