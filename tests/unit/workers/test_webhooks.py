"""Webhooks reach a real server: signed, in order, at least once, whatever the receiver does (contract 10, P16, F31)."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select
from standardwebhooks import Webhook, WebhookVerificationError

from dev.process import free_port
from shared.chat import service as chat
from shared.core import outbox
from shared.core.streams import meeting_stream
from shared.identity.actor import Actor
from shared.meetings import service as meetings
from shared.participants import moderation
from shared.runtime import Runtime
from shared.webhooks import cursors as cursor_service
from shared.webhooks import delivering, outcomes, sending
from shared.webhooks import endpoints as service
from shared.webhooks.endpoints import EndpointWish
from shared.webhooks.jobs import Deliver
from shared.webhooks.kinds import KINDS
from shared.webhooks.models import Endpoint, cursors, deliveries, endpoints
from shared.webhooks.sending import Answer, Letter, Recipient
from tests.factories.counted import counted
from tests.factories.scene import Scene, change_place
from tests.fakes.clock import FakeClock
from tests.fakes.receiver import Fault, Receiver, flapping, raw_answer
from workers import app  # noqa: F401  registers every task
from workers.task import run_job, run_periodic

TALK = ("chat.message",)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def hooks(bench: Runtime) -> Runtime:
    """The runtime, with private addresses allowed and nothing of earlier tests to send."""
    settings = replace(bench.settings, webhook_allow_private=True)
    with bench.transaction() as tx:
        tx.execute(delete(endpoints))
    return replace(bench, settings=settings, tools=replace(bench.tools, settings=settings))


@dataclass
class Site:
    """A host with an endpoint, and what they do."""

    runtime: Runtime
    scene: Scene
    host: Actor

    def endpoint(self, url: str, *kinds: str, **more: Any) -> tuple[Endpoint, str]:
        with self.runtime.transaction() as tx:
            return service.create(tx, self.host, EndpointWish(url, kinds or KINDS, **more))

    def meeting(self, host: Actor | None = None) -> str:
        """A running meeting with its host inside."""
        meeting_id = self.scene.meeting(host or self.host)
        self.scene.join(meeting_id, host or self.host)
        return meeting_id

    def say(self, meeting_id: str, *texts: str, who: Actor | None = None) -> None:
        for text in texts:
            with self.runtime.transaction() as tx:
                chat.post(tx, meeting_id, who or self.host, chat.MessageWish(content=text))

    def pump(self) -> int:
        """Give turns, and do what follows from it; return how many there were."""
        with self.runtime.transaction() as tx:
            count = delivering.give_turns(tx)
        for errand in tx.errands:
            assert run_job(self.runtime, errand.name, errand.id) == "done"
        return count

    def pump_for(self, clock: FakeClock, **length: float) -> None:
        """Let a time pass as beat and worker would live through it, in steps of a minute at most."""
        left = timedelta(**length)
        while left > timedelta():
            step = min(left, timedelta(seconds=60))
            clock.pass_(seconds=step.total_seconds())
            left -= step
            self.pump()

    def log(self, endpoint: Endpoint, **wanted: str) -> list[Any]:
        with self.runtime.reading() as tx:
            query = service.deliveries_of(endpoint.id, wanted.get("meeting_id"), wanted.get("state"), None, 100)
            return sorted(tx.all(query), key=lambda row: row.seq)

    def row(self, endpoint: Endpoint) -> Any:
        with self.runtime.reading() as tx:
            return tx.first(select(endpoints).where(endpoints.c.id == endpoint.id))


@pytest.fixture
def site(hooks: Runtime) -> Site:
    scene = Scene(hooks)
    return Site(hooks, scene, scene.user("Hedy"))


def test_a_meeting_is_told_from_its_start_to_its_end_signed_and_in_order(site: Site, receiver: Receiver) -> None:
    endpoint, secret = site.endpoint(receiver.url)
    meeting_id = site.meeting()
    ann = site.scene.user("Ann")
    site.scene.join(meeting_id, ann)
    site.say(meeting_id, "hello \u2603")
    site.scene.leave(meeting_id, ann)
    site.scene.end(meeting_id)
    site.pump()

    ledger = site.scene.events(meeting_stream(meeting_id))
    told = receiver.told()
    assert [name for name, _ in told] == [
        *("meeting.started", "participant.joined", "participant.joined", "chat.message"),
        *("participant.left", "meeting.ended"),
    ]
    assert [seq for _, seq in told] == sorted({seq for _, seq in told})
    by_seq = {entry.seq: entry for entry in ledger}
    for arrival in receiver.arrivals:
        body = Webhook(secret).verify(arrival.raw, arrival.headers)
        assert set(body) == {"event", "meeting_id", "seq", "data", "timestamp"}
        assert body["meeting_id"] == meeting_id
        assert body["data"] == json.loads(by_seq[body["seq"]].data)
        assert body["timestamp"].endswith("Z")
        assert arrival.headers["content-type"] == "application/json"
        assert arrival.path == "/hook"
    assert receiver.arrivals[3].body["data"]["content"] == "hello \u2603"
    assert [(row.event, row.seq, row.state, row.attempts, row.response_status) for row in site.log(endpoint)] == [
        (name, seq, "delivered", 1, 204) for name, seq in told
    ]
    assert site.pump() == 0


def test_s113_what_is_changed_on_the_way_or_signed_with_another_secret_does_not_verify(
    site: Site, receiver: Receiver
) -> None:
    _, secret = site.endpoint(receiver.url, *TALK)
    _, other = site.endpoint(receiver.url, "meeting.cancelled")
    site.say(site.meeting(), "true")
    site.pump()
    (arrival,) = receiver.arrivals
    Webhook(secret).verify(arrival.raw, arrival.headers)
    for raw, headers, key in (
        (arrival.raw.replace(b"true", b"lies"), arrival.headers, secret),
        (arrival.raw, arrival.headers | {"webhook-id": "evt_other"}, secret),
        (arrival.raw, arrival.headers | {"webhook-timestamp": str(int(time.time()) - 60)}, secret),
        (arrival.raw, arrival.headers, other),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(raw, headers)


def test_an_endpoint_is_told_what_it_asked_for_of_the_meetings_of_its_owner(site: Site, receiver: Receiver) -> None:
    own, other, one = site.meeting(), site.meeting(site.scene.user()), site.meeting()
    everything, _ = site.endpoint(receiver.url, *TALK)
    alone, _ = site.endpoint(receiver.url, *TALK, meeting_id=one)
    site.scene.join(other, site.host)  # as an attendee
    site.say(own, "mine")
    site.say(other, "theirs")
    site.say(one, "one")
    peer = site.scene.join(own, site.scene.user()).participant
    with site.runtime.transaction() as tx:
        chat.post(tx, own, site.host, chat.MessageWish(content="of both ends alone", recipient_id=peer.id))
    while site.pump():
        pass
    assert sorted(arrival.body["data"]["content"] for arrival in receiver.arrivals) == ["mine", "one", "one"]
    assert {row.meeting_id for row in site.log(everything)} == {own, one}
    assert {row.meeting_id for row in site.log(alone)} == {one}


def test_a_deleted_message_that_was_not_sent_yet_stays_unsaid(site: Site, receiver: Receiver) -> None:
    site.endpoint(receiver.url, "chat.message", "chat.message_deleted")
    meeting_id = site.meeting()
    with site.runtime.transaction() as tx:
        message = chat.post(tx, meeting_id, site.host, chat.MessageWish(content="canary")).message
    with site.runtime.transaction() as tx:
        chat.delete(tx, meeting_id, site.host, message.id)
    site.pump()
    assert [name for name, _ in receiver.told()] == ["chat.message", "chat.message_deleted"]
    assert not [a for a in receiver.arrivals if b"canary" in a.raw]


def test_p16_a_receiver_that_flaps_gets_every_event_in_order(site: Site, receiver: Receiver, clock: FakeClock) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    receiver.fault = flapping(0.3, seed=7)
    for start in range(0, 60, 20):
        site.say(meeting_id, *(f"{number}" for number in range(start, start + 20)))
        site.pump_for(clock, minutes=1)
    site.pump_for(clock, minutes=60)
    first_time = list(dict.fromkeys(receiver.told()))
    assert receiver.told() == first_time
    assert [a.body["data"]["content"] for a in receiver.arrivals if a.taken] == [f"{n}" for n in range(60)]
    assert len(receiver.arrivals) > 60
    attempts = receiver.told(taken=False)
    assert [seq for _, seq in attempts] == sorted(seq for _, seq in attempts)  # also what failed never overtook
    assert len({a.id for a in receiver.arrivals}) == 60  # duplicates carry the same id
    assert {row.state for row in site.log(endpoint)} == {"delivered"}
    assert sum(row.attempts for row in site.log(endpoint)) == len(receiver.arrivals)


def test_what_is_not_taken_waits_longer_each_time(site: Site, receiver: Receiver, clock: FakeClock) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    site.say(meeting_id, "one", "two")
    receiver.status = 500
    waits = []
    for _ in range(12):
        site.pump()
        before = len(receiver.arrivals)
        waited = 0
        while len(receiver.arrivals) == before:
            clock.pass_(seconds=5)
            waited += 5
            site.pump()
        waits.append(waited)
    assert waits[:6] == [5, 10, 20, 40, 80, 160]
    assert waits == sorted(waits)
    assert waits[-1] == 3600
    assert {seq for _, seq in receiver.told(taken=False)} == {receiver.arrivals[0].body["seq"]}
    (row,) = site.log(endpoint)
    assert (row.state, row.attempts, row.response_status, row.reason) == ("retrying", 13, 500, "HTTP 500.")


def asks_to_wait(status: int, header: str) -> Fault:
    """Return a fault that refuses, and says when to come again."""
    return raw_answer(f"HTTP/1.1 {status} Busy\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode())


def until_it_comes_again(site: Site, receiver: Receiver, clock: FakeClock) -> int:
    """Let time pass in steps of five seconds until something arrives; return how many seconds."""
    before = len(receiver.arrivals)
    for waited in range(5, 10_000, 5):
        clock.pass_(seconds=5)
        site.pump()
        if len(receiver.arrivals) > before:
            return waited
    raise AssertionError("nothing came")


@pytest.mark.parametrize(
    ("status", "header", "waits"),
    [
        (429, "60", [60, 60, 60, 60, 80]),  # never sooner than without
        (503, "3", [5, 10, 20]),
        (503, "999999", [3600]),  # an hour at most
        (500, "60", [5, 10]),  # with these two alone does it mean anything
        (429, "soon", [5, 10]),
    ],
)
def test_a_receiver_that_says_when_to_come_again_is_left_alone_until_then(
    site: Site, receiver: Receiver, clock: FakeClock, status: int, header: str, waits: list[int]
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    site.say(site.meeting(), "one")
    receiver.fault = asks_to_wait(status, header)
    site.pump()
    assert [until_it_comes_again(site, receiver, clock) for _ in waits] == waits
    (row,) = site.log(endpoint)
    assert (row.state, row.response_status, row.reason) == ("retrying", status, f"HTTP {status}.")


def test_who_asks_to_be_left_alone_is_so_by_all_meetings_and_by_those_whose_turn_it_was(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meetings_ = [site.meeting() for _ in range(3)]
    for meeting_id in meetings_:
        site.say(meeting_id, "x")
    receiver.fault = asks_to_wait(429, "120")
    site.pump()
    assert len(receiver.arrivals) == 1  # the other two had a turn
    site.say(site.meeting(), "later")
    assert site.pump() == 0
    assert site.row(endpoint).open_until == clock.now() + timedelta(seconds=120)
    receiver.fault = lambda _: False
    assert until_it_comes_again(site, receiver, clock) == 120
    while site.pump():
        pass
    assert len({a.body["meeting_id"] for a in receiver.arrivals if a.taken}) == 4
    assert (site.row(endpoint).failures, site.row(endpoint).open_until) == (0, None)


def test_a_success_that_was_on_its_way_does_not_cut_short_what_the_receiver_asked_for(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    first, second = site.meeting(), site.meeting()
    site.say(first, "x")
    receiver.status = 500
    site.pump()  # so that the next success would close a circuit
    clock.pass_(seconds=5)
    site.say(second, "y")
    with site.runtime.transaction() as tx:
        assert delivering.give_turns(tx) == 2
    jobs = [job_of(site.runtime, errand.id) for errand in tx.errands]
    with site.runtime.transaction() as tx:
        turn, other = (delivering.take(tx, job) for job in jobs)
        assert turn is not None
        assert other is not None
        (post, *_), (another, *_) = (delivering.batch(tx, one).posts for one in (turn, other))  # type: ignore[union-attr]
    with site.runtime.transaction() as tx:
        assert not outcomes.settle(tx, turn, post, Answer(429, "HTTP 429.", 1, 600.0), was_failing=True)
    with site.runtime.transaction() as tx:
        assert not outcomes.settle(tx, other, another, Answer(204, None, 1), was_failing=True)  # its turn is over, too
    with site.runtime.reading() as tx:
        assert delivering.batch(tx, other) is None
    assert sorted(row.state for row in site.log(endpoint)) == ["delivered", "retrying"]
    assert site.row(endpoint).open_until == clock.now() + timedelta(seconds=600)
    receiver.status = 204
    assert until_it_comes_again(site, receiver, clock) == 600


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120),
        ("Thu Jan  1 00:02:00 2026", 120),
        ("Thu, 01 Jan 2026 01:02:00 +0100", 120),
        ("Thu, 01 Jan 2026 00:02:00 -0000", 120),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        *((odd, 0) for odd in ("", " ", "-5", "1.5", "1e9", "120, 60", "soon", "9" * 5000, "\u0661\u0662", "Thu, 99")),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nothing_else(header: str | None, seconds: float) -> None:
    assert sending.wait_asked(header, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_p16_a_receiver_that_is_down_for_hours_misses_nothing(site: Site, receiver: Receiver, clock: FakeClock) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    receiver.status = 503
    site.say(meeting_id, *"abc")
    site.pump_for(clock, hours=20)
    receiver.status = 200
    site.say(meeting_id, "d")
    site.pump_for(clock, minutes=61)
    assert [a.body["data"]["content"] for a in receiver.arrivals if a.taken] == list("abcd")
    assert [row.state for row in site.log(endpoint)] == ["delivered"] * 4
    assert (site.row(endpoint).failures, site.row(endpoint).open_until) == (0, None)


def test_after_24_hours_there_is_a_dead_letter_that_says_why_and_the_next_event_has_its_turn(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    receiver.status = 410
    site.say(meeting_id, "old", "as old")
    site.pump_for(clock, hours=23)
    assert {row.state for row in site.log(endpoint)} == {"retrying"}
    site.say(meeting_id, "young")
    site.pump_for(clock, hours=4)
    told = [(row.state, row.reason) for row in site.log(endpoint)]
    assert told == [("dead", "HTTP 410."), ("dead", "HTTP 410."), ("retrying", "HTTP 410.")]
    assert min(row.attempts for row in site.log(endpoint)) > 0
    receiver.status = 200
    site.pump_for(clock, hours=2)
    assert [a.body["data"]["content"] for a in receiver.arrivals if a.taken] == ["young"]

    with site.runtime.transaction() as tx:  # a dead letter can be sent again
        first = site.log(endpoint)[0].seq
        service.replay(tx, site.host, endpoint.id, meeting_id, first)
    site.pump()
    assert [a.body["data"]["content"] for a in receiver.arrivals if a.taken] == ["young", "old", "as old", "young"]
    assert {row.state for row in site.log(endpoint)} == {"delivered"}


def test_p16_who_refuses_one_event_for_a_day_gets_all_that_waited_behind_it(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    site.say(meeting_id, "taken")
    site.pump()
    refused = f"evt_{meeting_id}_{site.log(endpoint)[0].seq + 1}"

    def fault(request: Any) -> bool:
        if request.headers["webhook-id"] == refused:
            request.wfile.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            return True
        return False

    receiver.fault = fault
    site.say(meeting_id, "refused", "behind it", "and behind that")
    site.pump_for(clock, hours=27)
    assert [row.state for row in site.log(endpoint)] == ["delivered", "dead", "delivered", "delivered"]
    told = [a.body["data"]["content"] for a in receiver.arrivals if a.taken]
    assert told == ["taken", "behind it", "and behind that"]


def test_p16_an_answer_from_where_one_does_not_send_any_more_counts_for_nothing(site: Site, receiver: Receiver) -> None:
    with Receiver() as former:
        former.status = 500
        endpoint, _ = site.endpoint(former.url, *TALK)
        site.say(site.meeting(), "x")

        def fault(_: Any) -> bool:
            with site.runtime.transaction() as tx:
                service.change(tx, site.host, endpoint.id, {"url": receiver.url})
            return False

        former.fault = fault
        site.pump()
    assert (site.row(endpoint).failures, site.row(endpoint).failing_since) == (0, None)
    site.pump()
    assert [row.state for row in site.log(endpoint)] == ["delivered"]
    assert len(receiver.arrivals) == 1


def test_a_dead_receiver_is_tried_with_one_meeting_at_a_time_and_delays_nobody(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    with Receiver() as dead:
        dead.status = 500
        broken, _ = site.endpoint(dead.url, *TALK)
        busy = [site.meeting() for _ in range(12)]
        for meeting_id in busy:
            site.say(meeting_id, "lost")
        assert site.pump() == delivering.AT_ONCE
        site.pump()
        open_until = site.row(broken).open_until
        assert open_until > clock.now()
        neighbour = Site(site.runtime, site.scene, site.scene.user())
        neighbour.endpoint(receiver.url, *TALK)
        neighbour.say(neighbour.meeting(), "found")
        before = len(dead.arrivals)
        assert neighbour.pump() == 1
        assert [a.body["data"]["content"] for a in receiver.arrivals] == ["found"]
        assert len(dead.arrivals) == before

        clock.pass_(hours=1)
        assert site.pump() == 1  # one tries for all
        assert len(dead.arrivals) == before + 1
        dead.status = 200
        clock.pass_(hours=1)
        assert site.pump() == 1
        while site.pump():  # and all go at once when it is taken
            pass
        assert sorted({a.body["meeting_id"] for a in dead.arrivals if a.taken}) == sorted(busy)
        assert (site.row(broken).failures, site.row(broken).failing_since) == (0, None)


def test_what_waits_behind_an_open_circuit_for_a_day_becomes_dead_letters(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    receiver.status = 500
    meetings_ = [site.meeting() for _ in range(10)]
    for meeting_id in meetings_:
        site.say(meeting_id, "lost")
    for _ in range(3):
        site.pump()
    clock.pass_(hours=25)
    assert run_periodic(site.runtime, "webhooks.tidy") == "done"
    log = site.log(endpoint)
    assert {row.meeting_id for row in log} == set(meetings_)
    assert {row.state for row in log} == {"dead"}
    assert {row.attempts for row in log} >= {0, 1}
    assert all(row.reason for row in log)


def job_of(runtime: Runtime, row_id: str) -> Deliver:
    with runtime.reading() as tx:
        return Deliver(**tx.scalar(select(outbox.outbox.c.payload).where(outbox.outbox.c.id == row_id)))


def test_two_workers_never_have_the_same_turn_and_a_turn_that_was_lost_is_given_again(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    site.endpoint(receiver.url, *TALK)
    site.say(site.meeting(), "once")
    with site.runtime.transaction() as tx:
        assert delivering.give_turns(tx) == 1
    job = job_of(site.runtime, tx.errands[0].id)
    with site.runtime.transaction() as tx:
        assert delivering.give_turns(tx) == 0
        turn = delivering.take(tx, job)
        assert turn is not None
        assert delivering.take(tx, job) is None
    clock.pass_(seconds=delivering.TURN_SECONDS + 1)  # its worker died
    assert site.pump() == 1
    assert len(receiver.arrivals) == 1
    with site.runtime.reading() as tx:
        assert delivering.batch(tx, turn) is None


def test_during_a_rotation_either_secret_verifies_and_a_day_later_the_new_one_alone(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, old = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    with site.runtime.transaction() as tx:
        _, new = service.rotate(tx, site.host, endpoint.id)
    site.say(meeting_id, "both")
    site.pump()
    for secret in (old, new):
        Webhook(secret).verify(receiver.arrivals[0].raw, receiver.arrivals[0].headers)
    clock.pass_(hours=24)
    site.say(meeting_id, "new alone")
    site.pump()
    last = receiver.arrivals[-1]
    at = clock.now()
    assert last.headers["webhook-signature"] == Webhook(new).sign(last.id, at, last.raw.decode())
    kept = repr(site.row(endpoint))
    assert old.removeprefix("whsec_") not in kept
    assert new.removeprefix("whsec_") not in kept


def test_a_replay_sends_again_in_order_with_the_same_ids_and_what_is_new_behind_it(
    site: Site, receiver: Receiver
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    site.say(meeting_id, *"abcd")
    site.pump()
    ids = [a.id for a in receiver.arrivals]
    with site.runtime.transaction() as tx:
        service.replay(tx, site.host, endpoint.id, meeting_id, receiver.arrivals[1].body["seq"])
    site.say(meeting_id, "e")
    site.pump()
    assert [a.body["data"]["content"] for a in receiver.arrivals] == list("abcdbcde")
    assert [a.id for a in receiver.arrivals[4:7]] == ids[1:]


def test_a_test_is_sent_once_and_told_of(site: Site, receiver: Receiver) -> None:
    endpoint, secret = site.endpoint(receiver.url, *TALK)
    for status, state, reason in ((200, "delivered", None), (500, "failed", "HTTP 500.")):
        receiver.status = status
        with site.runtime.transaction() as tx:
            asked = service.fire_test(tx, site.host, endpoint.id)
        for _ in range(2):  # a message that comes twice
            run_job(site.runtime, "webhooks.send_test", tx.errands[0].id)
        body = Webhook(secret).verify(receiver.arrivals[-1].raw, receiver.arrivals[-1].headers)
        assert (body["event"], body["meeting_id"], body["seq"]) == ("webhook.test", None, None)
        with site.runtime.reading() as tx2:
            row = tx2.first(select(deliveries).where(deliveries.c.id == asked.id))
        assert row is not None
        assert (row.state, row.reason, row.attempts) == (state, reason, 1)
    assert len(receiver.arrivals) == 2
    assert site.row(endpoint).failures == 0


def test_switched_off_nothing_is_sent_and_switched_on_nothing_was_lost(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    meeting_id = site.meeting()
    with site.runtime.transaction() as tx:
        service.change(tx, site.host, endpoint.id, {"is_enabled": False})
    site.say(meeting_id, "later")
    assert site.pump() == 0
    clock.pass_(days=2)
    with site.runtime.transaction() as tx:
        service.change(tx, site.host, endpoint.id, {"is_enabled": True})
    site.pump()
    assert [a.body["data"]["content"] for a in receiver.arrivals] == ["later"]


def test_who_is_no_host_any_more_is_told_nothing_further(site: Site, receiver: Receiver) -> None:
    other = site.scene.user()
    meeting_id = site.meeting(other)
    seat = site.scene.join(meeting_id, site.host).participant
    site.endpoint(receiver.url, *TALK)
    site.say(meeting_id, "as attendee", who=other)
    with site.runtime.transaction() as tx:
        moderation.change(tx, meeting_id, other, seat.id, {"role": "host"})
    site.say(meeting_id, "as host", who=other)
    site.pump()
    with site.runtime.transaction() as tx:
        moderation.change(tx, meeting_id, other, seat.id, {"role": "attendee"})
    site.say(meeting_id, "as attendee again", who=other)
    with site.runtime.transaction() as tx:
        moderation.change(tx, meeting_id, other, seat.id, {"role": "host"})
    site.say(meeting_id, "as host again", who=other)
    site.pump()
    change_place(site.runtime, seat.id, role="attendee")  # even if no event had told of it
    site.say(meeting_id, "behind the back", who=other)
    site.pump()
    assert [a.body["data"]["content"] for a in receiver.arrivals] == ["as host", "as host again"]


def test_a_meeting_that_is_over_is_looked_at_no_more_after_a_day_and_can_be_sent_again(
    site: Site, receiver: Receiver, clock: FakeClock
) -> None:
    endpoint, _ = site.endpoint(receiver.url)
    meeting_id = site.meeting()
    site.scene.end(meeting_id)
    site.pump()

    def is_looked_at() -> bool:
        with site.runtime.transaction() as tx:
            cursor_service.forget_over(tx)
            return tx.first(select(cursors).where(cursors.c.meeting_id == meeting_id)) is not None

    assert is_looked_at()
    clock.pass_(hours=25)
    assert not is_looked_at()
    told = receiver.told()
    with site.runtime.transaction() as tx:
        service.replay(tx, site.host, endpoint.id, meeting_id, 1)
    site.pump()
    assert receiver.told() == [*told, *told]


def test_a_meeting_that_is_changed_or_cancelled_before_it_starts_is_told_too(site: Site, receiver: Receiver) -> None:
    site.endpoint(receiver.url)
    meeting_id = site.scene.meeting(site.host, start=False)
    with site.runtime.transaction() as tx:
        meetings.change(tx, meeting_id, site.host, {"title": "Other"})
    with site.runtime.transaction() as tx:
        meetings.cancel(tx, meeting_id, site.host)
    site.pump()
    assert [name for name, _ in receiver.told()] == ["meeting.updated", "meeting.cancelled"]


# --- receivers that mean harm (S107 to S109, F31)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.6)


def outcome(site: Site, receiver: Receiver) -> tuple[str, str | None]:
    endpoint, _ = site.endpoint(receiver.url, *TALK)
    site.say(site.meeting(), "x")
    began = time.monotonic()
    site.pump()
    assert time.monotonic() - began < 4
    (row,) = site.log(endpoint)
    return row.state, row.reason


def test_s109_a_redirect_is_not_followed(site: Site, receiver: Receiver) -> None:
    with Receiver() as inner:
        head = f"HTTP/1.1 302 Found\r\nLocation: {inner.url}\r\nContent-Length: 0\r\n\r\n".encode()
        receiver.fault = raw_answer(head)
        assert outcome(site, receiver) == ("retrying", "HTTP 302: redirects are not followed.")
        assert inner.arrivals == []


@pytest.mark.parametrize(
    ("parts", "pause"),
    [
        ([b"HTTP/1.1 2", *([b"0"] * 40)], 0.1),  # byte by byte
        ([b"HTTP/1.1 200 OK\r\n", *([b"X: y\r\n"] * 40)], 0.1),
        ([], 5.0),
    ],
    ids=["slow status", "slow headers", "silence"],
)
@pytest.mark.usefixtures("short")
def test_s109_who_answers_too_slowly_has_not_answered(
    site: Site, receiver: Receiver, parts: list[bytes], pause: float
) -> None:
    def fault(request: Any) -> bool:
        if not parts:
            time.sleep(1.5)
            return True
        try:
            return raw_answer(*parts, pause=pause)(request)
        except OSError:
            return True

    receiver.fault = fault
    state, reason = outcome(site, receiver)
    assert (state, reason) == ("retrying", "No answer within 1 seconds.")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-H: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01 not HTTP",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"",
    ],
    ids=["200 headers", "a header of 10 MB", "not HTTP", "a broken status", "nothing"],
)
def test_s109_an_answer_that_is_none_is_a_failure(site: Site, receiver: Receiver, answer: bytes) -> None:
    def fault(request: Any) -> bool:
        try:
            return raw_answer(answer)(request)
        except OSError:  # we hung up
            return True

    receiver.fault = fault
    state, reason = outcome(site, receiver)
    assert (state, reason) == ("retrying", "The connection broke, or the answer was not HTTP.")


def test_s109_a_body_of_10_mb_is_not_read_and_shown_to_nobody(site: Site, receiver: Receiver) -> None:
    sent = []

    def fault(request: Any) -> bool:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        try:
            for _ in range(1000):
                request.wfile.write(b"canary-body" * 1000)
                sent.append(1)
        except OSError:
            pass
        return True

    receiver.fault = fault
    assert outcome(site, receiver) == ("delivered", None)
    with site.runtime.reading() as tx:
        assert "canary" not in repr(tx.all(select(deliveries)))
    assert len(sent) < 1000


def test_s107_s108_what_leads_inward_at_the_time_of_sending_gets_nothing(
    bench: Runtime, site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept when it was public, or by another configuration: the address is judged again."""
    strict = replace(site, runtime=replace(bench, settings=replace(bench.settings, webhook_allow_private=False)))
    literal, _ = strict.endpoint(receiver.url, *TALK)
    rebound, _ = strict.endpoint(f"http://rebound.example.com:{receiver.port}/", *TALK)
    looked_up = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        looked_up.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    strict.say(strict.meeting(), "x")
    strict.pump()
    assert receiver.arrivals == []
    assert "rebound.example.com" in looked_up
    for endpoint in (literal, rebound):
        (row,) = strict.log(endpoint)
        assert (row.state, row.reason) == ("retrying", "Nothing is sent there. Must be a host on the Internet.")


def test_s108_the_connection_goes_to_the_address_that_was_judged_and_keeps_the_name(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["127.0.0.1"])  # asked a second time, there would be none
    connect = socket.create_connection

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "hooks.example.com"
        return [(2, 1, 6, "", (next(answers), port))]

    def create_connection(address: tuple[str, int], *more: Any) -> Any:
        assert address == ("127.0.0.1", receiver.port)
        monkeypatch.undo()
        return connect(address, *more)

    site.endpoint(f"http://hooks.example.com:{receiver.port}/", *TALK)
    site.say(site.meeting(), "x")
    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("socket.create_connection", create_connection)
    site.pump()
    assert [a.headers["host"] for a in receiver.arrivals] == [f"hooks.example.com:{receiver.port}"]


def test_the_delay_grows_to_an_hour() -> None:
    assert [outcomes.delay(n).total_seconds() for n in (1, 2, 3, 10, 11, 1000)] == [5, 10, 20, 2560, 3600, 3600]


@pytest.mark.once
def test_every_letter_is_timed_by_what_became_of_it(receiver: Receiver) -> None:
    names = ("taken", "refused", "unreached")
    before = [counted("parley_webhook_seconds_count", outcome=name) for name in names]
    letter, now = Letter("id", b"{}"), datetime.now(UTC)
    for status in (204, 500):
        receiver.status = status
        sending.send(Recipient(receiver.url, ()), letter, now, private=True)
    sending.send(Recipient(f"http://127.0.0.1:{free_port()}", ()), letter, now, private=True)

    assert [counted("parley_webhook_seconds_count", outcome=name) for name in names] == [one + 1 for one in before]
