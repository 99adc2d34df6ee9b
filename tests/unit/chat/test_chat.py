"""Chat as a service: who may write, read, change and delete what, and what each stream says about it afterwards."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from shared.chat import service as chat
from shared.chat.links import is_web_address
from shared.chat.models import messages, reactions
from shared.chat.queries import Page, history
from shared.chat.service import MessageWish, Told
from shared.core.errors import DomainError, InsufficientPermission, NotFound, ValidationFailed
from shared.core.ids import new_id
from shared.core.streams import meeting_stream, personal_stream
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingEnded, MeetingNotActive, MeetingNotFound
from shared.participants.errors import NotInside, ParticipantNotFound
from shared.participants.membership import get_permitted
from shared.participants.models import DENIED, REMOVED
from shared.participants.permissions import CHAT_SEND
from shared.policies.errors import ChatDisabled, FileSharingDisabled
from shared.policies.remedies import REMEDIES
from shared.runtime import Runtime
from tests.factories.scene import Scene, change_place


class Room(Scene):
    """A running meeting with a host and two attendees inside, and short words for the services of chat."""

    def __init__(self, runtime: Runtime, **policy: Any) -> None:
        super().__init__(runtime)
        self.host, self.ada, self.bob = self.user("Host"), self.user("Ada"), self.user("Bob")
        self.id = self.meeting(self.host, policy=policy)
        self.host_id, self.ada_id, self.bob_id = (
            self.join(self.id, who).participant.id for who in (self.host, self.ada, self.bob)
        )

    def say(self, who: Actor, content: str = "hello", **more: Any) -> Told:
        with self.runtime.transaction() as tx:
            return chat.post(tx, self.id, who, MessageWish(content=content, **more))

    def edit(self, who: Actor, message_id: str, content: str) -> Told:
        with self.runtime.transaction() as tx:
            return chat.edit(tx, self.id, who, message_id, content)

    def delete(self, who: Actor, message_id: str) -> Told:
        with self.runtime.transaction() as tx:
            return chat.delete(tx, self.id, who, message_id)

    def react(self, who: Actor, message_id: str, emoji: str = "🎉") -> chat.Reacted:
        with self.runtime.transaction() as tx:
            return chat.react(tx, self.id, who, message_id, emoji)

    def read(self, who: Actor, **page: Any) -> list[tuple[str | None, int, str]]:
        with self.runtime.reading() as tx:
            found = history(tx, self.id, who, Page(**{"limit": 100, **page}))
        return [(message.content, seq, stream) for message, seq, stream in found]

    def heard(self, stream: str) -> list[dict[str, Any]]:
        return [json.loads(entry.data) for entry in self.events(stream) if entry.type == "chat"]


def test_a_public_message_is_told_once_to_all_and_kept_with_its_number(timed: Runtime) -> None:
    room = Room(timed)
    told = room.say(room.ada, "hello")
    assert (told.position.name, told.message.sender_id, told.message.sender_name) == ("meeting", room.ada_id, "Ada")
    assert told.message.seq == told.message.position == told.position.seq
    (event,) = room.heard(meeting_stream(room.id))
    assert (event["action"], event["content"], event["message_id"]) == ("posted", "hello", told.message.id)
    for reader in (room.host, room.ada, room.bob):
        assert room.read(reader) == [("hello", told.position.seq, "meeting")]


def test_a_private_message_is_told_and_shown_to_its_two_ends_only(timed: Runtime) -> None:
    room = Room(timed)
    room.say(room.bob, "before", recipient_id=room.host_id)
    told = room.say(room.ada, "psst", recipient_id=room.bob_id)
    assert (told.position.name, told.position.seq, told.message.recipient_seq) == ("me", 1, 2)
    assert [event["content"] for event in room.heard(personal_stream(room.ada_id))] == ["psst"]
    assert [event["content"] for event in room.heard(personal_stream(room.bob_id))] == ["before", "psst"]
    assert room.heard(meeting_stream(room.id)) == []
    assert room.read(room.ada) == [("psst", 1, "me")]
    assert ("psst", 2, "me") in room.read(room.bob)
    assert room.read(room.host) == [("before", 1, "me")]


def trouble(room: Room, what: str) -> tuple[Actor, str]:
    """Return somebody who must not write, and the id of the meeting meant."""
    if what == "stranger":
        return room.user(), room.id
    if what == "no meeting":
        return room.ada, new_id()
    if what in (REMOVED, DENIED):
        change_place(room.runtime, room.ada_id, status=what)
    elif what == "gone":
        room.leave(room.id, room.ada)
    elif what == "over":
        room.end(room.id)
    elif what == "not yet":
        return room.host, room.meeting(room.host, start=False)
    return room.ada, room.id


@pytest.mark.parametrize(
    ("what", "refusal"),
    [
        ("stranger", MeetingNotFound),
        ("no meeting", MeetingNotFound),
        (REMOVED, MeetingNotFound),
        (DENIED, MeetingNotFound),
        ("gone", NotInside),
        ("over", MeetingEnded),
        ("not yet", MeetingNotActive),
    ],
)
@pytest.mark.parametrize("verb", ["post", "edit", "delete", "react"])
def test_only_who_is_inside_a_running_meeting_writes(
    timed: Runtime, what: str, refusal: type[DomainError], verb: str
) -> None:
    room = Room(timed)
    mine = room.say(room.ada, "mine").message
    who, meeting_id = trouble(room, what)
    steps = {
        "post": lambda tx: chat.post(tx, meeting_id, who, MessageWish(content="no")),
        "edit": lambda tx: chat.edit(tx, meeting_id, who, mine.id, "no"),
        "delete": lambda tx: chat.delete(tx, meeting_id, who, mine.id),
        "react": lambda tx: chat.react(tx, meeting_id, who, mine.id, "🎉"),
    }
    with pytest.raises(refusal) as refused, timed.transaction() as tx:
        steps[verb](tx)
    assert type(refused.value) is refusal
    assert [content for content, _, _ in room.read(room.host)] == ["mine"]
    assert [event["content"] for event in room.heard(meeting_stream(room.id))] == ["mine"]


@pytest.mark.parametrize(
    ("permission", "host_may", "attendee_may"), [("all", True, True), ("host", True, False), ("none", False, False)]
)
def test_s96_the_policy_says_who_writes(timed: Runtime, permission: str, host_may: bool, attendee_may: bool) -> None:
    room = Room(timed, chat_permissions=permission)
    for who, may in ((room.host, host_may), (room.ada, attendee_may)):
        if may:
            told = room.say(who)
            room.edit(who, told.message.id, "edited")
            room.react(who, told.message.id)
            continue
        with pytest.raises(ChatDisabled) as refused:
            room.say(who)
        assert refused.value.details == {"rule": "chat_permissions", "remedy": REMEDIES["chat_permissions"]}
        for verb in (room.edit, room.react):
            with pytest.raises(ChatDisabled):
                verb(who, new_id(), "x")
    assert len(room.read(room.host)) == host_may + attendee_may


def test_files_are_refused_where_they_are_switched_off_and_nothing_else(timed: Runtime) -> None:
    room = Room(timed, enable_file_sharing=False)
    file = {"name": "plan.pdf", "url": "https://files.example.com/plan.pdf"}
    with pytest.raises(FileSharingDisabled):
        room.say(room.host, "the plan", message_type="file", file=file)
    assert room.read(room.ada) == []
    assert room.say(room.ada, "https://example.com", message_type="link").message.message_type == "link"
    allowed = Room(timed)
    assert allowed.say(allowed.ada, "the plan", message_type="file", file=file).message.file == file


def test_a_private_message_needs_somebody_else_who_is_inside(timed: Runtime) -> None:
    room = Room(timed)
    elsewhere = Room(timed)
    room.leave(room.id, room.bob)
    for recipient in (room.bob_id, elsewhere.ada_id, new_id(), "no id"):
        with pytest.raises(ParticipantNotFound):
            room.say(room.ada, recipient_id=recipient)
    with pytest.raises(ValidationFailed):
        room.say(room.ada, recipient_id=room.ada_id)
    room.join(room.id, room.bob)
    assert room.say(room.ada, recipient_id=room.bob_id).message.is_private


def test_a_reply_can_only_be_to_what_its_author_may_read(timed: Runtime) -> None:
    room = Room(timed)
    secret = room.say(room.ada, "psst", recipient_id=room.bob_id).message
    for unknown in (secret.id, new_id(), "no id"):
        with pytest.raises(NotFound):
            room.say(room.host, "what?", reply_to=unknown)
    assert room.say(room.bob, "yes", recipient_id=room.ada_id, reply_to=secret.id).message.reply_to == secret.id
    said = room.say(room.ada, "aloud").message
    assert room.say(room.host, "indeed", reply_to=said.id).message.reply_to == said.id


def test_s87_history_begins_where_the_reader_came_in_and_skips_where_they_were_out(timed: Runtime) -> None:
    room = Room(timed)
    room.say(room.host, "early")
    late = room.user("Late")
    room.join(room.id, late)
    room.say(room.host, "with you")
    room.leave(room.id, late)
    room.say(room.host, "behind your back")
    assert [content for content, _, _ in room.read(late)] == ["with you"]
    room.join(room.id, late)
    room.say(room.host, "again")
    assert [content for content, _, _ in room.read(late)] == ["with you", "again"]
    # Hosts and co-hosts answer for the whole meeting.
    co_host = room.co_host(room.id)
    assert [content for content, _, _ in room.read(co_host)] == ["early", "with you", "behind your back", "again"]


def test_what_somebody_wrote_stays_theirs_to_read_and_delete(timed: Runtime) -> None:
    room = Room(timed)
    mine = room.say(room.ada, "mine").message
    room.leave(room.id, room.ada)
    assert room.read(room.ada) == [("mine", mine.seq, "meeting")]
    room.join(room.id, room.ada)
    room.delete(room.ada, mine.id)
    assert room.read(room.bob) == [(None, mine.seq, "meeting")]


@pytest.mark.parametrize(
    ("what", "refusal"), [("stranger", MeetingNotFound), (REMOVED, MeetingNotFound), (DENIED, MeetingNotFound)]
)
def test_who_is_no_member_reads_nothing(timed: Runtime, what: str, refusal: type[DomainError]) -> None:
    room = Room(timed)
    room.say(room.ada)
    who, _ = trouble(room, what)
    with pytest.raises(refusal):
        room.read(who)
    assert len(room.read(room.bob)) == 1


def test_the_history_is_read_in_pages_oldest_first(timed: Runtime) -> None:
    room = Room(timed)
    said = [room.say(room.ada, f"m{n}") for n in range(6)]
    room.say(room.ada, "psst", recipient_id=room.bob_id)
    last = room.say(room.bob, "end")
    every = [f"m{n}" for n in range(6)] + ["psst", "end"]

    def page(who: Actor = room.ada, **wanted: Any) -> list[str | None]:
        return [content for content, _, _ in room.read(who, **wanted)]

    assert page() == every
    assert page(limit=2) == every[:3]  # one more says that there is another page
    assert page(limit=2, offset=2) == every[2:5]
    assert page(offset=len(every)) == []
    assert page(before_seq=said[2].position.seq) == ["m0", "m1"]
    assert page(before_seq=last.position.seq) == every[:-1]
    assert page(after_seq=said[4].position.seq) == ["m5", "psst", "end"]
    # The private message stands behind the public one that was the last before it: it is not lost between two pages.
    assert page(after_seq=said[5].position.seq) == ["psst", "end"]
    assert page(after_seq=last.position.seq) == []
    assert page(after_seq=said[1].position.seq, before_seq=said[4].position.seq) == ["m2", "m3"]
    assert page(after=said[5].message.turn) == ["psst", "end"]
    assert page(who=room.host, after_seq=said[4].position.seq) == ["m5", "end"]


def test_s93_an_edit_replaces_the_text_everywhere_also_where_it_was_told_before(timed: Runtime) -> None:
    room = Room(timed)
    other = room.say(room.bob, "other").message
    mine = room.say(room.ada, "first").message
    room.edit(room.ada, mine.id, "second")
    told = room.edit(room.ada, mine.id, "third")
    assert (told.message.content, told.message.edited_at) == ("third", timed.now())
    assert [content for content, _, _ in room.read(room.bob)] == ["other", "third"]
    events = [event for event in room.heard(meeting_stream(room.id)) if event["message_id"] == mine.id]
    assert [event["action"] for event in events] == ["posted", "edited", "edited"]
    assert {event["content"] for event in events} == {"third"}
    assert room.heard(meeting_stream(room.id))[0]["content"] == "other"
    assert other.edited_at is None


@pytest.mark.parametrize("is_private", [False, True])
def test_s93_a_deletion_leaves_a_tombstone_and_no_text_in_any_stream(timed: Runtime, is_private: bool) -> None:
    room = Room(timed)
    to = {"recipient_id": room.bob_id} if is_private else {}
    kept = room.say(room.ada, 'kept {"action":"edited","message_id":"', **to).message
    mine = room.say(room.ada, "the secret word", **to).message
    room.edit(room.ada, mine.id, "another secret word")
    room.edit(room.ada, kept.id, "kept and edited")
    room.react(room.bob, mine.id)
    told = room.delete(room.ada, mine.id)
    assert (told.message.content, told.message.deleted_at) == (None, timed.now())
    streams = [personal_stream(room.ada_id), personal_stream(room.bob_id)] if is_private else [meeting_stream(room.id)]
    for stream in streams:
        assert not any("secret" in entry.data for entry in room.events(stream))
        about = [event for event in room.heard(stream) if event["message_id"] == mine.id]
        assert [event["action"] for event in about] == ["posted", "edited", "reaction", "deleted"]
        assert [event["content"] for event in room.heard(stream) if event["message_id"] == kept.id] == [
            "kept and edited",
            "kept and edited",
        ]
        seqs = [entry.seq for entry in room.events(stream)]
        assert seqs == list(range(1, len(seqs) + 1))
    for reader in (room.ada, room.bob):
        assert [content for content, _, _ in room.read(reader)] == ["kept and edited", None]


def test_a_deleted_message_takes_no_edit_and_no_reaction_and_can_be_deleted_again(timed: Runtime) -> None:
    room = Room(timed)
    mine = room.say(room.ada).message
    private = room.say(room.ada, "psst", recipient_id=room.bob_id).message
    for message, stream in ((mine, "meeting"), (private, "me")):
        room.delete(room.ada, message.id)
        count = len(room.heard(meeting_stream(room.id)))
        with pytest.raises(NotFound):
            room.edit(room.ada, message.id, "back")
        with pytest.raises(NotFound):
            room.react(room.bob, message.id)
        again = room.delete(room.ada, message.id)
        assert (again.position.name, again.position.seq) == (stream, message.seq)
        assert len(room.heard(meeting_stream(room.id))) == count
    assert [content for content, _, _ in room.read(room.ada)] == [None, None]


def test_only_the_author_edits_and_only_author_and_staff_delete(timed: Runtime) -> None:
    room = Room(timed)
    mine = room.say(room.ada, "mine").message
    for other in (room.bob, room.host):
        with pytest.raises(InsufficientPermission):
            room.edit(other, mine.id, "not mine")
    with pytest.raises(InsufficientPermission):
        room.delete(room.bob, mine.id)
    assert [content for content, _, _ in room.read(room.bob)] == ["mine"]
    co_host = room.co_host(room.id)
    room.join(room.id, co_host)
    told = room.delete(co_host, mine.id)
    assert told.position.name == "meeting"
    assert [content for content, _, _ in room.read(room.bob)] == [None]


def test_s86_hosts_neither_find_nor_delete_a_private_message_and_its_recipient_cannot_either(timed: Runtime) -> None:
    room = Room(timed)
    secret = room.say(room.ada, "psst", recipient_id=room.bob_id).message
    for verb in (room.delete, room.react):
        with pytest.raises(NotFound):
            verb(room.host, secret.id)
    with pytest.raises(NotFound):
        room.edit(room.host, secret.id, "x")
    with pytest.raises(InsufficientPermission):
        room.delete(room.bob, secret.id)
    to_host = room.say(room.ada, "for you", recipient_id=room.host_id).message
    with pytest.raises(InsufficientPermission):
        room.delete(room.host, to_host.id)
    assert [content for content, _, _ in room.read(room.bob)] == ["psst"]
    assert [content for content, _, _ in room.read(room.host)] == ["for you"]


def test_a_link_stays_a_link_when_it_is_edited(timed: Runtime) -> None:
    room = Room(timed)
    link = room.say(room.ada, "https://example.com", message_type="link").message
    for text in ("javascript:alert(1)", "data:text/html,x", "see here"):
        with pytest.raises(ValidationFailed):
            room.edit(room.ada, link.id, text)
    assert [content for content, _, _ in room.read(room.bob)] == ["https://example.com"]
    assert room.edit(room.ada, link.id, "http://example.org/x").message.content == "http://example.org/x"


@pytest.mark.once
@pytest.mark.parametrize(
    ("text", "is_link"),
    [
        ("https://example.com/a?b=c#d", True),
        ("http://[::1]/", True),
        ("HTTPS://EXAMPLE.COM", True),
        ("http://[::1", False),
        ("https://", False),
        ("https:///path", False),
        ("ftp://example.com", False),
        ("javascript:alert(1)", False),
        ("javascript://example.com/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("https://example.com and more", False),
        ("https://exam\nple.com", False),
        ("", False),
    ],
)
def test_s92_only_http_and_https_addresses_are_links(text: str, is_link: bool) -> None:
    assert is_web_address(text) is is_link


def test_a_reaction_counts_once_for_each_person_and_emoji(timed: Runtime) -> None:
    room = Room(timed)
    mine = room.say(room.ada).message
    for who, emoji in ((room.bob, "🎉"), (room.bob, "🎉"), (room.bob, "❤️"), (room.host, "🎉")):
        reacted = room.react(who, mine.id, emoji)
        assert (reacted.message_id, reacted.emoji) == (mine.id, emoji)
    told = [
        (event["participant_id"], event["emoji"])
        for event in room.heard(meeting_stream(room.id))
        if event["action"] == "reaction"
    ]
    assert told == [(room.bob_id, "🎉"), (room.bob_id, "❤️"), (room.host_id, "🎉")]
    with timed.reading() as tx:
        kept = tx.all(select(reactions).where(reactions.c.message_id == mine.id))
        assert len(kept) == 3
        assert tx.execute(select(messages).where(messages.c.id == mine.id)).one().content == "hello"


def test_a_reaction_to_a_private_message_is_told_to_its_two_ends(timed: Runtime) -> None:
    room = Room(timed)
    secret = room.say(room.ada, "psst", recipient_id=room.bob_id).message
    room.react(room.bob, secret.id)
    for participant_id in (room.ada_id, room.bob_id):
        assert [e["action"] for e in room.heard(personal_stream(participant_id))] == ["posted", "reaction"]
    assert room.heard(meeting_stream(room.id)) == room.heard(personal_stream(room.host_id)) == []


def test_s52_who_writes_to_somebody_while_the_meeting_ends_is_told_that_it_has(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(runtime)
    with runtime.reading() as tx:
        before = get_permitted(tx, room.id, room.ada, CHAT_SEND)
    room.end(room.id)
    monkeypatch.setattr(chat, "_writer", lambda *_: before)
    with pytest.raises(MeetingEnded):
        room.say(room.ada, recipient_id=room.bob_id)
