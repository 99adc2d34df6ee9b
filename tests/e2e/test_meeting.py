"""A meeting, end to end: real processes, real sockets, effects seen by somebody else."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dev.http_client import Api
from tests.stack import Stack

pytestmark = pytest.mark.timeout(60)


def test_a_message_reaches_everybody_inside_in_order_and_is_acknowledged(stack: Stack) -> None:
    ada, bob = stack.person("Ada"), stack.person("Bob")
    meeting_id = stack.meeting(ada)
    for person in (ada, bob):
        assert person.post(f"/meetings/{meeting_id}/join").status == 200
    with stack.socket(ada, meeting_id) as hers, stack.socket(bob, meeting_id) as his:
        ack = hers.request("chat", {"content": "hello"}, "a1")
        assert ack["type"] == "ack"
        assert ack["stream"] == "meeting"
        for heard in (hers.until("chat"), his.until("chat")):
            assert (heard["data"]["content"], heard["seq"]) == ("hello", ack["seq"])


def test_how_late_a_message_reaches_the_sockets_is_measured(stack: Stack) -> None:
    ada = stack.person("Ada")
    meeting_id = stack.meeting(ada)
    assert ada.post(f"/meetings/{meeting_id}/join").status == 200
    before = _delivered(stack)
    with stack.socket(ada, meeting_id) as hers:
        hers.request("chat", {"content": "hello"}, "a1")
        hers.until("chat")
        until = time.monotonic() + 10
        while _delivered(stack) == before:  # noted behind the write
            assert time.monotonic() < until
            time.sleep(0.05)


def _delivered(stack: Stack) -> float:
    """Return how many times were measured; none is as long as the process runs, which a wrong unit would be."""
    page = Api(stack.url).get("//metrics").body
    found = {sample.name: sample.value for family in text_string_to_metric_families(page) for sample in family.samples}
    assert found["parley_fanout_seconds_sum"] <= 60 * found["parley_fanout_seconds_count"]
    return found["parley_fanout_seconds_count"]
