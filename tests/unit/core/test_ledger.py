"""The ledger: one gapless sequence per stream."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, insert

from shared.core import ledger
from shared.core.ids import is_id, new_id
from shared.core.ledger import Entry, StreamClosed
from shared.core.streams import hosts_stream, meeting_stream
from shared.runtime import Runtime


def entry(stream: str, seq: int, data: str = "{}") -> Entry:
    return Entry(stream, seq, stream[2:], "chat", None, data, None, datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))


def take(connection: Connection, stream: str, *, final_word: bool = False) -> int:
    return ledger.next_seqs(connection, {(stream, stream[2:]): 1}, final_word=final_word)[stream]


def grow(runtime: Runtime, stream: str, count: int = 1) -> None:
    for _ in range(count):
        with runtime.database.connection() as connection:
            ledger.write(connection, [entry(stream, take(connection, stream))])


@pytest.fixture
def stream() -> str:
    """A stream of its own for each test."""
    return meeting_stream(new_id())


def test_numbers_begin_with_one_and_have_no_hole(runtime: Runtime, stream: str):
    with runtime.database.connection() as connection:
        assert [take(connection, stream) for _ in range(3)] == [1, 2, 3]
    with runtime.database.connection() as connection:
        assert take(connection, stream) == 4


def test_streams_count_apart(runtime: Runtime, stream: str):
    with runtime.database.connection() as connection:
        assert [take(connection, stream), take(connection, hosts_stream(stream[2:])), take(connection, stream)] == [
            1,
            1,
            2,
        ]


def test_a_number_whose_transaction_was_undone_is_given_again(runtime: Runtime, stream: str):
    def break_off() -> None:
        with runtime.database.connection() as connection:
            assert take(connection, stream) == 2
            raise KeyError

    grow(runtime, stream)
    with pytest.raises(KeyError):
        break_off()
    with runtime.database.connection() as connection:
        assert take(connection, stream) == 2


def test_numbers_taken_at_once_are_all_different_and_without_a_hole(runtime: Runtime, stream: str):
    threads = [threading.Thread(target=grow, args=(runtime, stream, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with runtime.database.connection(read_only=True) as connection:
        assert [e.seq for e in ledger.read(connection, stream, 0, 100)] == list(range(1, 21))


def test_a_closed_stream_takes_final_words_only(runtime: Runtime, stream: str):
    grow(runtime, stream)
    with runtime.database.connection() as connection:
        ledger.close_streams(connection, stream[2:])
    with pytest.raises(StreamClosed), runtime.database.connection() as connection:
        take(connection, stream)
    with runtime.database.connection() as connection:
        assert take(connection, stream, final_word=True) == 2


def test_closing_one_meeting_leaves_the_streams_of_others_open(runtime: Runtime, stream: str):
    grow(runtime, stream)
    with runtime.database.connection() as connection:
        ledger.close_streams(connection, new_id())
    grow(runtime, stream)


def test_what_is_written_is_read_in_order_behind_a_number_and_up_to_a_limit(runtime: Runtime, stream: str):
    grow(runtime, stream, 5)
    with runtime.database.connection(read_only=True) as connection:
        assert ledger.read(connection, stream, 0, 1) == [entry(stream, 1)]
        assert [e.seq for e in ledger.read(connection, stream, 2, 2)] == [3, 4]
        assert ledger.read(connection, stream, 5, 10) == []
        assert ledger.read(connection, meeting_stream(new_id()), 0, 10) == []


def test_heads_are_the_last_numbers_and_zero_for_what_is_empty(runtime: Runtime, stream: str):
    grow(runtime, stream, 3)
    empty = meeting_stream(new_id())
    with runtime.database.connection(read_only=True) as connection:
        assert ledger.heads(connection, iter([stream, empty])) == {stream: 3, empty: 0}


def test_a_redacted_event_keeps_its_number_and_loses_its_words(runtime: Runtime, stream: str):
    grow(runtime, stream, 2)
    with runtime.database.connection() as connection:
        ledger.redact(connection, stream, 1, '{"is_deleted":true}')
    with runtime.database.connection(read_only=True) as connection:
        first, second = ledger.read(connection, stream, 0, 10)
    assert (first.seq, first.type, first.data) == (1, "chat", '{"is_deleted":true}')
    assert second == entry(stream, 2)


def test_later_events_with_the_same_beginning_are_redacted_together(runtime: Runtime, stream: str):
    said = ['{"id":"a%","n":1}', '{"id":"a%","n":2}', '{"id":"abc","n":3}', '{"id":"a%","n":4}']
    with runtime.database.connection() as connection:
        ledger.write(connection, [entry(stream, take(connection, stream), data) for data in said])
        ledger.redact_later(connection, stream, 1, '{"id":"a%"', "{}")
    with runtime.database.connection(read_only=True) as connection:
        assert [e.data for e in ledger.read(connection, stream, 0, 10)] == [said[0], "{}", said[2], "{}"]


def test_the_installation_has_an_epoch(runtime: Runtime):
    with runtime.database.connection(read_only=True) as connection:
        assert is_id(ledger.epoch(connection))


def test_two_events_of_one_number_cannot_be(runtime: Runtime, stream: str):
    grow(runtime, stream)
    with pytest.raises(Exception, match=r"(?i)unique"), runtime.database.connection() as connection:
        connection.execute(
            insert(ledger.events).values(
                stream=stream, seq=1, meeting_id=new_id(), type="x", data="{}", created_at=datetime.now(UTC)
            )
        )
