"""What travels between processes: envelope, effects, orders, channels, and the broker without Redis."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.ids import new_id
from shared.core.ledger import Entry
from shared.core.messages import Signal
from shared.realtime import channels, close_codes, effects, envelope, orders
from shared.realtime.broker import Broker
from shared.realtime.memory import MemoryBroker

pytestmark = pytest.mark.once

NOW = datetime(2026, 3, 4, 5, 6, 7, 89_999, tzinfo=UTC)


class Clap(Signal):
    """A signal of the tests."""

    type = "clap"

    def data(self) -> dict[str, Any]:
        """Say how loud."""
        return {"loud": "äöü"}


def entry(**changes: Any) -> Entry:
    """Return an entry of the ledger."""
    values: dict[str, Any] = {
        "stream": "m:M",
        "seq": 7,
        "meeting_id": "M",
        "type": "chat",
        "actor_id": "U",
        "data": '{"content":"a\\nb \\" é 😀"}',
        "effect": None,
        "created_at": NOW,
    }
    return Entry(**{**values, **changes})


def test_a_time_goes_out_in_utc_with_z_cut_to_milliseconds() -> None:
    assert envelope.timestamp(NOW) == "2026-03-04T05:06:07.089Z"


@pytest.mark.parametrize(("key", "name"), [("m:M", "meeting"), ("h:M", "hosts"), ("p:P", "me")])
def test_a_kept_event_is_a_frame_with_stream_and_seq(key: str, name: str) -> None:
    assert json.loads(envelope.frame_of(entry(stream=key))) == {
        "type": "chat",
        "meeting_id": "M",
        "user_id": "U",
        "data": {"content": 'a\nb " é 😀'},
        "timestamp": "2026-03-04T05:06:07.089Z",
        "stream": name,
        "seq": 7,
    }


def test_an_event_of_nobody_has_a_null_user() -> None:
    assert json.loads(envelope.frame_of(entry(actor_id=None)))["user_id"] is None


def test_a_signal_and_a_direct_frame_have_neither_stream_nor_seq() -> None:
    signal = json.loads(envelope.frame_of_signal(Clap(meeting_id="M", actor_id="U"), NOW))
    assert (signal["type"], signal["data"], signal["stream"], signal["seq"]) == ("clap", {"loud": "äöü"}, None, None)
    direct = json.loads(envelope.direct_frame("pong", "M", {"at": NOW}, NOW))
    assert (direct["user_id"], direct["stream"], direct["seq"]) == (None, None, None)
    assert direct["data"] == {"at": "2026-03-04T05:06:07.089Z"}


@given(
    st.sampled_from(["m:", "h:", "p:"]),
    st.integers(0, 2**53),
    st.sampled_from([None, effects.END, effects.REDACT, "gone:P:1000"]),
    st.binary(max_size=200),
)
def test_a_wakeup_reads_back_as_it_was_written(prefix: str, seq: int, effect: str | None, frame: bytes) -> None:
    key = prefix + new_id()
    before = time.time()
    *told, sent_at = envelope.decode(envelope.encode(key, seq, effect, frame))
    assert told == [key, seq, effect, frame]
    assert before - 0.001 <= sent_at <= time.time()


def test_a_wakeup_of_an_older_release_does_not_say_when_it_was_made() -> None:
    assert envelope.decode(b"m:M 1 -\n{}") == ("m:M", 1, None, b"{}", 0.0)


@pytest.mark.parametrize("junk", [b"", b"\n", b"m:M 1\n{}", b"m:M x -\n{}", b"m:M 1 - -\n{}", b"\xff 1 -\n"])
def test_a_wakeup_that_is_none_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError):
        envelope.decode(junk)


def test_effects_read_back_as_they_were_written() -> None:
    assert effects.parse(effects.END) == ("end", "*", close_codes.MEETING_ENDED)
    assert effects.parse(effects.REDACT).kind == "redact"
    assert effects.parse(effects.gone("P", 4503)) == effects.Effect("gone", "P", 4503)


def test_orders_and_channels_have_one_form() -> None:
    assert orders.end_session("S") == "session S"
    assert orders.close_connection("C") == "connection C"
    assert channels.meeting_channel("M") == "parley:m:M"
    assert channels.meeting_channel("M") != channels.CONTROL


def test_every_close_code_we_send_has_a_meaning() -> None:
    codes = {value for name, value in vars(close_codes).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(close_codes.MEANINGS)
    assert all(3999 < code < 4500 for code in (4401, 4408, 4429))
    assert {code for code in codes if code >= 4500} == {close_codes.REMOVED, close_codes.MEETING_ENDED}


def test_the_broker_without_redis_delivers_at_once_and_loses_everything_when_broken() -> None:
    broker = MemoryBroker()
    promised: Broker = broker
    heard: list[tuple[str, bytes]] = []
    broker.listeners.append(lambda channel, message: heard.append((channel, message)))
    promised.publish("news", b"1")
    broker.broken = True
    promised.publish("news", b"2")
    assert not promised.healthy
    broker.broken = False
    assert promised.healthy
    assert heard == broker.published == [("news", b"1")]  # type: ignore[unreachable]  # mypy keeps what a call has changed
