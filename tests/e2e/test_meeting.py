"""A meeting, end to end: real processes, real sockets, effects seen by somebody else."""

import pytest

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
