"""Webhooks out, end to end: somebody else's server, and the processes as docker/compose.yml has them (contract 10)."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook

from dev.http_client import Api
from shared.core import ledger
from shared.core.queue import LANES
from shared.core.settings import Settings
from shared.runtime import Runtime, build_runtime
from shared.webhooks.models import cursors
from tests.e2e.room import Json, Room, ask, eventually, installation
from tests.fakes.receiver import Arrival, Receiver
from tests.stack import Stack

# The database is as real in tests/faults/test_quick.py, on PostgreSQL.
pytestmark = [pytest.mark.once, pytest.mark.timeout(120)]

SECONDS = 15.0
EVENTS = ["meeting.started", "meeting.ended", "participant.joined", "participant.left", "chat.message"]
SENDER = "webhooks"
LETTER_SECONDS = 10.0  # a receiver may take so long to answer


def start_sender(stack: Stack) -> None:
    stack.start_worker(SENDER, lanes=["webhooks"], threads="8")


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation that may send to this machine: no other's workers take its jobs."""
    directory = tmp_path_factory.mktemp("webhooks")
    with (
        installation(settings, directory, webhook_allow_private=True) as (given, _),
        Stack(given, directory, with_workers=False) as stack,
    ):
        stack.start_worker(lanes=[lane for lane in LANES if lane != "webhooks"])
        start_sender(stack)
        stack.start_beat()
        stack.wait_until_up(0, "//readyz")
        yield stack


@pytest.fixture(scope="module")
def inside(own: Stack) -> Iterator[Runtime]:
    """The runtime of that installation, to let a day pass in its database."""
    built = build_runtime(own.settings)
    yield built
    built.database.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of somebody."""

    owner: Api
    made: Json

    @property
    def path(self) -> str:
        return f"/webhooks/{self.made['webhook_id']}"

    def ask(self, what: str, body: Any = None) -> Json:
        """Have something done with it."""
        answer = self.owner.post(f"{self.path}/{what}", body)
        assert answer.status in (200, 202), answer.body
        return dict(answer.data)

    def log(self, state: str = "") -> list[Json]:
        """Return its deliveries, the oldest first."""
        told: list[Json] = self.owner.get(f"{self.path}/deliveries?limit=100{state and f'&state={state}'}").data
        return sorted(told, key=lambda each: each["seq"] or 0)

    def verified(self, arrivals: list[Arrival], secret: str | None = None) -> list[Json]:
        """Return the bodies of what came, each verified."""
        standard = Webhook(secret or self.made["secret"])
        return [standard.verify(each.raw, each.headers) for each in arrivals]


def subscribe(owner: Api, receiver: Receiver, *events: str) -> Hook:
    answer = owner.post("/webhooks", {"url": receiver.url, "events": list(events) or EVENTS})
    assert answer.status == 201, answer.body
    return Hook(owner, answer.data)


def open_room(stack: Stack, host: Api, *others: Api) -> Room:
    """A running meeting with these people inside."""
    meeting_id = stack.meeting(host)
    people = (host, *others)
    return Room(stack, meeting_id, people, tuple(one.post(f"/meetings/{meeting_id}/join").data for one in people))


def texts(receiver: Receiver) -> list[str]:
    """Return what was said in the messages that were taken."""
    return [each.body["data"]["content"] for each in receiver.arrivals if each.taken]


def test_p16_a_meeting_is_told_from_its_start_to_its_end_signed_and_in_order(own: Stack, receiver: Receiver) -> None:
    host, ann = own.person("Hosta"), own.person("Ann")
    hook = subscribe(host, receiver)
    room = open_room(own, host, ann)
    with room.open(1) as hers:
        assert ask(hers, "chat", {"content": "hello \u2603", "message_type": "text"})["type"] == "ack"
    room.say(0, "welcome")
    ann.post(room.path("/leave"))
    ledger_ = {event["seq"]: event for event in room.events(0)}
    assert host.post(room.path("/end")).status == 200

    eventually(lambda: "meeting.ended" in {event for event, _ in receiver.told()}, SECONDS)
    bodies = hook.verified(receiver.arrivals)
    assert [body["event"] for body in bodies] == [
        *("meeting.started", "participant.joined", "participant.joined", "chat.message", "chat.message"),
        *("participant.left", "meeting.ended"),
    ]
    numbers = [body["seq"] for body in bodies]
    assert numbers == sorted(set(numbers))
    assert [body["data"] for body in bodies[:-1]] == [ledger_[seq]["data"] for seq in numbers[:-1]]
    assert {body["meeting_id"] for body in bodies} == {room.meeting_id}
    assert [arrival.id for arrival in receiver.arrivals] == [f"evt_{room.meeting_id}_{seq}" for seq in numbers]
    eventually(lambda: len(hook.log("delivered")) == len(numbers), SECONDS)
    assert [(row["seq"], row["attempts"], row["response_status"]) for row in hook.log()] == [
        (seq, 1, 204) for seq in numbers
    ]
    assert ann.get(hook.path).status == 404


def test_during_a_rotation_both_secrets_verify_and_a_replay_sends_the_same_again(
    own: Stack, receiver: Receiver
) -> None:
    host, ann = own.person("Hosta"), own.person("Ann")
    room = open_room(own, host, ann)
    hook = subscribe(host, receiver, "chat.message")
    first = room.say(1, "one")["seq"]
    eventually(lambda: len(hook.log("delivered")) == 1, SECONDS)  # else it is sent again, with the new secret
    assert texts(receiver) == ["one"]
    new = hook.ask("rotate-secret")["secret"]
    room.say(1, "two")
    eventually(lambda: len(hook.log("delivered")) == 2, SECONDS)
    assert texts(receiver) == ["one", "two"]
    before, after = receiver.arrivals
    assert len(before.headers["webhook-signature"].split()) == 1
    assert len(after.headers["webhook-signature"].split()) == 2
    assert hook.verified([after]) == hook.verified([after], new)

    hook.ask("replay", {"meeting_id": room.meeting_id, "from_seq": first})
    eventually(lambda: texts(receiver) == ["one", "two", "one", "two"], SECONDS)
    again = receiver.arrivals[2:]
    assert [(each.id, each.raw) for each in again] == [(each.id, each.raw) for each in (before, after)]
    hook.verified(again, new)
    eventually(lambda: [row["attempts"] for row in hook.log("delivered")] == [2, 2], SECONDS)


def test_a_test_event_arrives_and_is_in_the_log(own: Stack, receiver: Receiver) -> None:
    hook = subscribe(own.person("Hosta"), receiver)
    fired = hook.ask("test")
    assert fired["state"] == "pending"
    eventually(lambda: receiver.arrivals, SECONDS)
    (body,) = hook.verified(receiver.arrivals)
    assert (body["event"], body["meeting_id"], body["seq"]) == ("webhook.test", None, None)
    (row,) = eventually(lambda: hook.log("delivered"), SECONDS)
    assert (row["delivery_id"], row["attempts"]) == (fired["delivery_id"], 1)


def a_day_passes(inside: Runtime, meeting_id: str) -> None:
    """Make what waits for a receiver a day older, and let it be tried now."""
    with inside.transaction() as tx:
        long_ago = tx.now - timedelta(hours=25)
        tx.execute(update(ledger.events).where(ledger.events.c.meeting_id == meeting_id).values(created_at=long_ago))
        of_meeting = update(cursors).where(cursors.c.meeting_id == meeting_id)
        tx.execute(of_meeting.values(since=long_ago, due_at=tx.now))


def test_what_was_refused_for_a_day_is_a_dead_letter_and_can_be_sent_again(
    own: Stack, inside: Runtime, receiver: Receiver
) -> None:
    host, ann = own.person("Hosta"), own.person("Ann")
    room = open_room(own, host, ann)
    hook = subscribe(host, receiver, "chat.message")
    receiver.status = 500
    lost = room.say(1, "lost")["seq"]
    eventually(lambda: hook.log("retrying"), SECONDS)
    a_day_passes(inside, room.meeting_id)
    (dead,) = eventually(lambda: hook.log("dead"), SECONDS)
    assert (dead["seq"], dead["response_status"], dead["reason"]) == (lost, 500, "HTTP 500.")
    assert dead["attempts"] >= 2

    receiver.status = 204
    room.say(1, "found")
    eventually(lambda: texts(receiver) == ["found"], SECONDS)
    hook.ask("replay", {"meeting_id": room.meeting_id, "from_seq": lost})
    eventually(lambda: texts(receiver) == ["found", "lost", "found"], SECONDS)
    eventually(lambda: len(hook.log("delivered")) == 2, SECONDS)


def test_a_sender_told_to_stop_finishes_the_letter_in_hand_and_the_next_one_goes_on(
    own: Stack, receiver: Receiver
) -> None:
    host = own.person("Hosta")
    room = open_room(own, host)
    hook = subscribe(host, receiver, "chat.message")
    in_hand, may_answer = threading.Event(), threading.Event()

    def answer_late(_: BaseHTTPRequestHandler) -> bool:
        if len(receiver.arrivals) < 3:
            return False
        in_hand.set()
        may_answer.wait(LETTER_SECONDS / 2)
        time.sleep(0.2)
        return False

    receiver.fault = answer_late
    said = [f"{number}" for number in range(30)]
    for text in said:
        room.say(0, text)
    assert in_hand.wait(SECONDS)
    process, before = own.processes[SENDER], len(own.log_of(SENDER))
    process.terminate()
    may_answer.set()
    assert process.wait(LETTER_SECONDS + 5) == 0, own.log_of(SENDER)
    assert "Traceback" not in own.log_of(SENDER)[before:]
    assert 3 < len(receiver.arrivals) < len(said)
    receiver.fault = lambda _: False
    start_sender(own)
    room.say(0, "last")
    eventually(lambda: "last" in texts(receiver), 30)
    assert texts(receiver) == [*said, "last"]  # each once: nobody was cut off
    hook.verified(receiver.arrivals)
