"""A meeting whose events were archived: what of them cannot be read says so, and everything else is as it was."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from shared.core.ledger import streams
from shared.core.storage import Storage
from shared.core.streams import meeting_stream
from tests.factories.world import Person, World
from tests.integration.http.answers import check_failure, check_success
from workers.retention import archive_meeting


@dataclass
class Over:
    """A meeting that has ended, and who was inside."""

    id: str
    host: Person
    ada: Person
    head: int

    def path(self, rest: str = "") -> str:
        return f"/meetings/{self.id}{rest}"


@pytest.fixture
def over(world: World) -> Over:
    host, ada = world.person("Host"), world.person("Ada")
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host, ada)
    for content in ("one", "two"):
        ada.post(f"/meetings/{meeting_id}/chat", {"content": content})
    host.post(f"/meetings/{meeting_id}/end")
    head = host.get(f"/meetings/{meeting_id}/status").data["cursors"]["meeting"]
    return Over(meeting_id, host, ada, head)


def archive(world: World, over: Over, folder: Path) -> None:
    assert archive_meeting(world.runtime, Storage(str(folder)), over.id, float("inf")) >= over.head


def test_events_in_the_archive_are_410_with_the_number_behind_which_they_can_be_read(
    world: World, over: Over, tmp_path: Path
) -> None:
    whole = check_success(over.ada.get(over.path("/events")), is_list=True)
    archive(world, over, tmp_path)
    for person in (over.host, over.ada):
        for after in (0, 1, over.head - 1):
            refused = check_failure(person.get(over.path(f"/events?after_seq={after}")), 410, "EVENTS_ARCHIVED")
            assert refused.body["details"] == {"stream": "meeting", "archived_until": over.head}
        for after in (over.head, over.head + 1):
            assert check_success(person.get(over.path(f"/events?after_seq={after}")), is_list=True) == []
    assert whole
    check_failure(world.person().get(over.path("/events")), 404, "MEETING_NOT_FOUND")


def test_what_is_not_archived_yet_is_read_behind_what_is(world: World, over: Over, tmp_path: Path) -> None:
    whole = over.ada.get(over.path("/events")).data
    with world.runtime.transaction() as tx:
        tx.execute(update(streams).where(streams.c.key == meeting_stream(over.id)).values(archived_seq=3))
    check_failure(over.ada.get(over.path("/events?after_seq=2")), 410, "EVENTS_ARCHIVED")
    assert over.ada.get(over.path("/events?after_seq=3")).data == [event for event in whole if event["seq"] > 3]


def test_chat_status_snapshot_and_the_audit_trail_are_as_they_were(world: World, over: Over, tmp_path: Path) -> None:
    reads = ["/chat", "/chat?after_seq=1&limit=1", "/status", "/participants", "/snapshot", "/security/events"]
    before = [(read, over.host.get(over.path(read)).body) for read in reads]
    archive(world, over, tmp_path)
    for read, was in before:
        now = over.host.get(over.path(read)).body
        assert now["status"] == "success"
        assert {**now, "timestamp": ""} == {**was, "timestamp": ""}
    assert [said["content"] for said in over.ada.get(over.path("/chat")).data] == ["one", "two"]


def test_a_webhook_is_not_sent_what_was_archived(world: World, over: Over, tmp_path: Path) -> None:
    hook = over.host.post("/webhooks", {"url": "https://203.0.114.7/hook", "events": ["chat.message"]}).data
    archive(world, over, tmp_path)
    replay = f"/webhooks/{hook['webhook_id']}/replay"
    refused = check_failure(over.host.post(replay, {"meeting_id": over.id, "from_seq": 1}), 410, "EVENTS_ARCHIVED")
    assert refused.body["details"] == {"stream": "meeting", "archived_until": over.head}
    check_failure(over.host.post(replay, {"meeting_id": over.id, "from_seq": over.head + 1}), 422, "VALIDATION_ERROR")
