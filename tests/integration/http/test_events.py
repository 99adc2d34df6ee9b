"""GET events: each stream without a hole, the same as what happened, and to each only what is theirs."""

import base64
import re
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.scene import co_host
from tests.factories.world import Person, World

FIELDS = {"type", "meeting_id", "user_id", "data", "timestamp", "stream", "seq"}


def events(person: Person, meeting_id: str, stream: str = "meeting", after: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get(
        f"/meetings/{meeting_id}/events?stream={stream}&after_seq={after}&limit=200"
    ).data
    return found


def test_the_meetings_stream_tells_all_that_happened_in_order_from_one_without_a_hole(world: World) -> None:
    host, ada = world.person("Host"), world.person("Ada")
    meeting_id = world.meeting(host)
    at = f"/meetings/{meeting_id}"
    happened: list[tuple[str, Any, dict[str, Any]]] = [("meeting_status", host, {"action": "started"})]

    _, seat = world.inside(meeting_id, host, ada)
    happened += [("join", host, {"user_name": "Host", "role": "host"}), ("join", ada, {"user_name": "Ada"})]
    ada.put(f"{at}/participants/status", {"is_muted": True, "is_hand_raised": True})
    happened.append(("participant_update", ada, {"is_muted": True, "is_hand_raised": True}))
    happened.append(("hand_raise", ada, {"participant_id": seat["participant_id"], "is_hand_raised": True}))
    ada.put(f"{at}/participants/status", {"is_screen_sharing": True})
    happened.append(("participant_update", ada, {"is_screen_sharing": True, "is_muted": True}))
    happened.append(("screen_share", ada, {"participant_id": seat["participant_id"], "is_screen_sharing": True}))
    said = ada.post(f"{at}/chat", {"content": "hello"}).data
    happened.append(("chat", ada, {"action": "posted", "message_id": said["message_id"], "content": "hello"}))
    host.post(f"{at}/chat/{said['message_id']}/reactions", {"emoji": "🎉"})
    happened.append(("chat", host, {"action": "reaction", "message_id": said["message_id"], "emoji": "🎉"}))
    host.patch(at, {"title": "Another title"})
    happened.append(("meeting_status", host, {"action": "updated", "title": "Another title"}))
    ada.post(f"{at}/leave")
    happened.append(("leave", ada, {"participant_id": seat["participant_id"], "status": "left", "reason": "left"}))
    ended = host.post(f"{at}/end").data
    happened.append(("meeting_status", host, {"action": "ended", "status": "completed", "ended_at": ended["ended_at"]}))

    told = events(host, meeting_id)
    assert [event["seq"] for event in told] == list(range(1, len(happened) + 1))
    for event, (type_, person, data) in zip(told, happened, strict=True):
        assert set(event) == FIELDS
        assert (event["type"], event["user_id"], event["stream"]) == (type_, person.id, "meeting")
        assert event["meeting_id"] == meeting_id
        assert {name: event["data"][name] for name in data} == data
    assert [event["timestamp"] for event in told] == sorted(event["timestamp"] for event in told)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"]) for event in told)
    assert host.get(f"{at}/status").data["cursors"]["meeting"] == len(told)
    assert events(ada, meeting_id) == told[2:-1]  # from her own joining to her own leaving


def test_a_stream_is_read_in_pages(world: World) -> None:
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, *(world.person() for _ in range(6)))
    whole = events(host, meeting_id)
    found: list[dict[str, Any]] = []
    after: str | None = "0"
    while after is not None:
        page = host.get(f"/meetings/{meeting_id}/events?limit=3&after_seq={after}")
        assert len(page.data) <= 3
        found += page.data
        after = page.body["pagination"]["next_cursor"]
    assert found == whole
    assert events(host, meeting_id, after=whole[-1]["seq"]) == events(host, meeting_id, after=10**9) == []


def test_hosts_hear_of_waiters_and_attendees_may_not(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host, policy={"join_approval_mode": "domain_restricted", "allowed_domains": ["in.com"]})
    insider = world.person(email=f"{new_id().lower()}@in.com")
    world.inside(meeting_id, insider, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    for staff in (host, co_host(world, meeting_id)):
        told = events(staff, meeting_id, "hosts")
        assert [(e["seq"], e["stream"], e["data"]["action"]) for e in told] == [
            (1, "hosts", "waiting"),
            (2, "hosts", "withdrawn"),
        ]
    refused = insider.get(f"/meetings/{meeting_id}/events?stream=hosts")
    assert (refused.status, refused.code) == (403, "INSUFFICIENT_PERMISSION")
    assert not any(event["type"] == "waiting_room" for event in events(insider, meeting_id))


def test_s87_a_late_joiner_reads_from_the_own_joining_and_not_what_happened_while_out(world: World) -> None:
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    host.post(f"/meetings/{meeting_id}/chat", {"content": "early"})
    world.inside(meeting_id, ada)
    ada.post(f"/meetings/{meeting_id}/leave")
    host.post(f"/meetings/{meeting_id}/chat", {"content": "behind your back"})
    world.inside(meeting_id, ada)
    host.post(f"/meetings/{meeting_id}/chat", {"content": "again"})
    whole = events(host, meeting_id)
    assert [event["type"] for event in whole] == [
        "meeting_status",
        "join",
        "chat",
        "join",
        "leave",
        "chat",
        "join",
        "chat",
    ]
    assert events(ada, meeting_id) == [event for event in whole if event["seq"] in (4, 5, 7, 8)]


@pytest.mark.parametrize(
    "query", ["stream=nonsense", "stream=", "stream=me%00", "after_seq=-1", "after_seq=x", "limit=0", "limit=201"]
)
def test_a_question_that_makes_no_sense_is_422(world: World, query: str) -> None:
    host = world.person()
    answer = host.get(f"/meetings/{world.meeting(host)}/events?{query}")
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize("stream", ["meeting", "me", "hosts"])
def test_the_streams_of_a_meeting_are_for_its_members(world: World, stream: str) -> None:
    host, invited = world.person(), world.person()
    meeting_id = world.meeting(host, invitees=[invited.email])
    path = f"/meetings/{meeting_id}/events?stream={stream}"
    for person, status in ((world.person(), 404), (world.nobody(), 401), (invited, 403), (host, 200)):
        assert person.get(path).status == status
    assert host.get(f"/meetings/{new_id()}/events?stream={stream}").code == "MEETING_NOT_FOUND"


# --- P21


class Anonymous:
    """Replaces ids by the order in which they first appear, and times by nothing: what is left is what was told."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self(_opened(each) if name == "next_cursor" else each) for name, each in value.items()}
        if isinstance(value, list):
            return [self(each) for each in value]
        if isinstance(value, str):
            value = re.sub(
                r"[0-7][0-9A-HJKMNP-TV-Z]{25}", lambda m: self._seen.setdefault(m[0], f"#{len(self._seen)}"), value
            )
            return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "time", value)
        return value


def _opened(cursor: str | None) -> str | None:
    """Return what a cursor says; it names a message."""
    if cursor is None or cursor.isdecimal():
        return cursor
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()


def witnessed(world: World, role: str, *, whispering: bool) -> Any:
    """Play a meeting, with or without two people whispering all the while; return all that a witness can read."""
    host, ada, bob = world.person("Host"), world.person("Ada"), world.person("Bob")
    meeting_id = world.meeting(host)
    witness = host if role == "host" else world.person("Witness")
    if role == "co-host":
        witness = co_host(world, meeting_id, "Witness")
    people = [host, ada, bob] + ([] if witness is host else [witness])
    seats = {p.id: s["participant_id"] for p, s in zip(people, world.inside(meeting_id, *people), strict=True)}
    chat = f"/meetings/{meeting_id}/chat"

    def whisper() -> None:
        if whispering:
            said = ada.post(chat, {"content": "psst", "recipient_id": seats[bob.id]}).data["message_id"]
            bob.post(chat, {"content": "what?", "recipient_id": seats[ada.id], "reply_to": said})
            ada.patch(f"{chat}/{said}", {"content": "pssst"})
            bob.post(f"{chat}/{said}/reactions", {"emoji": "x"})
            ada.delete(f"{chat}/{said}")

    reads = ["", "/status", "/participants", "/hands", "/snapshot", "/chat", "/chat?limit=1", "/chat?offset=1"]
    reads += ["/events", "/events?stream=me", *(["/events?stream=hosts"] if role != "attendee" else [])]
    seen = []
    for content in ("one", "two"):
        whisper()
        said = ada.post(chat, {"content": content}).data
        seen.append(witness.post(f"{chat}/{said['message_id']}/reactions", {"emoji": "y"}).body)
        seen.append(witness.post(chat, {"content": f"{content} indeed", "reply_to": said["message_id"]}).body)
        whisper()
        seen += [witness.get(f"/meetings/{meeting_id}{path}").body for path in reads]
    return Anonymous()(seen)


@pytest.mark.parametrize("role", ["attendee", "host", "co-host"])
def test_p21_what_a_witness_can_read_is_the_same_with_and_without_a_private_chat(world: World, role: str) -> None:
    without, whispered = (witnessed(world, role, whispering=whispering) for whispering in (False, True))
    assert whispered == without
    assert "psst" not in str(whispered)
