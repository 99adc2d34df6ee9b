"""What judges the letters of webhooks finds what is planted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from tests.fakes.receiver import Arrival
from tests.faults.checker import Row
from tests.faults.hooks import Told, judge

pytestmark = pytest.mark.once

SECRET, OTHER = "whsec_" + "A" * 44, "whsec_" + "B" * 44
SAID = [Row("m:M", seq, f"k{seq}") for seq in (2, 4, 5)]


def arrival(seq: int, *, taken: bool = True, key: str = "", id_: str = "", secret: str = SECRET) -> Arrival:
    body = json.dumps({"meeting_id": "M", "seq": seq, "data": {"content": f"{key or f'k{seq}'} xxx"}})
    id_, now = id_ or f"evt_M_{seq}", datetime.now(UTC)
    headers = {"webhook-id": id_, "webhook-timestamp": str(int(now.timestamp()))}
    headers["webhook-signature"] = Webhook(secret).sign(id_, now, body)
    return Arrival("/hook", headers, body.encode(), taken)


def verdict(*arrivals: Arrival) -> Told:
    return judge(arrivals, SAID, {"M": SECRET})


def test_what_comes_in_order_some_of_it_again_is_all_right() -> None:
    told = verdict(arrival(2, taken=False), arrival(2), arrival(2), arrival(4), arrival(5, taken=False), arrival(5))
    assert (told.defects, told.events, told.requests, told.again) == ([], 3, 6, 1)


@pytest.mark.parametrize(
    ("planted", "defect"),
    [
        (lambda: (arrival(2), arrival(4), arrival(5, taken=False)), "lost"),
        (lambda: (arrival(2), arrival(5), arrival(4)), "out of order"),
        (lambda: (arrival(2, taken=False), arrival(4), arrival(2), arrival(4), arrival(5)), "out of order"),
        (lambda: (arrival(2), arrival(4, secret=OTHER), arrival(5)), "not signed"),
        (lambda: (arrival(2), arrival(4, key="other"), arrival(5)), "made up"),
        (lambda: (arrival(2), arrival(3), arrival(4), arrival(5)), "made up"),
        (lambda: (arrival(2), arrival(2, id_="evt_new"), arrival(4), arrival(5)), "comes with other words"),
        (lambda: (arrival(2), arrival(4, id_="evt_M_2"), arrival(5)), "two events have one id"),
    ],
)
def test_what_is_planted_is_found(planted: Callable[[], tuple[Arrival, ...]], defect: str) -> None:
    assert {each.split(":")[0] for each in verdict(*planted()).defects} == {defect}
