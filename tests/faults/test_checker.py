"""The checker finds every planted defect, and finds nothing where nothing is."""

import itertools
from typing import Any

import pytest

from tests.faults.checker import Row, answers, check, delays
from tests.faults.history import Kind, Record

pytestmark = pytest.mark.once

M = "m:1"


def history(*lines: tuple[str, Kind, dict[str, Any]]) -> list[Record]:
    clock = itertools.count()
    return [Record(float(next(clock)), who, kind, **more) for who, kind, more in lines]


def start(who: str, stream: str = M, seq: int = 0, detail: str = "fresh") -> tuple[str, Kind, dict[str, Any]]:
    return who, "start", {"stream": stream, "seq": seq, "detail": detail}


def recv(who: str, seq: int, key: str | None = None, stream: str = M) -> tuple[str, Kind, dict[str, Any]]:
    return who, "recv", {"stream": stream, "seq": seq, "key": key}


def invoke(who: str, key: str, to: set[str] | None = None) -> tuple[str, Kind, dict[str, Any]]:
    return who, "invoke", {"key": key, "to": None if to is None else frozenset(to)}


def ok(who: str, key: str, seq: int, stream: str = M) -> tuple[str, Kind, dict[str, Any]]:
    return who, "ok", {"key": key, "stream": stream, "seq": seq}


LEDGER = [Row(M, 1, "a"), Row(M, 2), Row(M, 3, "b")]
CLEAN = [
    start("ada"),
    start("bob"),
    invoke("ada", "a"),
    ("ada", "unknown", {"key": "a"}),
    recv("bob", 1, "a"),
    ok("ada", "a", 1),
    recv("ada", 1, "a"),
    recv("ada", 2),
    recv("bob", 2),
    invoke("bob", "b"),
    recv("ada", 3, "b"),
    ok("bob", "b", 3),
    recv("bob", 3, "b"),
]


def test_a_clean_history_has_no_defects() -> None:
    verdict = check(history(*CLEAN), LEDGER)
    assert verdict.defects == []
    assert (verdict.acked, verdict.delivered, verdict.clients, verdict.retried, verdict.unknown) == (2, 6, 2, 1, 0)


def test_who_starts_late_need_not_hear_what_was_before() -> None:
    assert check(history(start("ada", seq=2), recv("ada", 3, "b")), LEDGER).defects == []


def test_an_event_that_was_skipped_is_lost() -> None:
    verdict = check(history(start("ada"), recv("ada", 1, "a"), recv("ada", 3, "b")), LEDGER)
    assert verdict.lost == ["ada: m:1 2"]


def test_events_missing_at_the_end_are_lost() -> None:
    lines = history(start("ada"), recv("ada", 1, "a"))
    assert check(lines, LEDGER).lost == ["ada: m:1 2", "ada: m:1 3"]
    assert check(lines, LEDGER, all_heard=False).defects == []


def test_who_heard_nothing_at_all_lost_everything() -> None:
    assert len(check(history(start("ada")), LEDGER).lost) == 3


def test_an_event_heard_twice_is_duplicated() -> None:
    verdict = check(history(*CLEAN, recv("ada", 3, "b")), LEDGER)
    assert verdict.duplicated == ["ada: m:1 3"]


def test_an_event_heard_after_a_later_one_is_misordered() -> None:
    verdict = check(history(start("ada"), recv("ada", 2), recv("ada", 1, "a"), recv("ada", 3, "b")), LEDGER)
    assert verdict.misordered == ["ada: m:1 1 after 2"]


def test_an_event_that_the_ledger_has_not_is_a_phantom() -> None:
    verdict = check(history(*CLEAN, recv("ada", 4, "z")), LEDGER)
    assert len(verdict.phantom) == 1


def test_an_event_that_says_something_else_than_the_ledger_is_a_phantom() -> None:
    lines = [recv("ada", 1, "x") if line == recv("ada", 1, "a") else line for line in CLEAN]
    assert len(check(history(*lines), LEDGER).phantom) == 1


def test_a_missing_number_is_a_hole() -> None:
    assert check([], [Row(M, 1), Row(M, 3)]).holes == ["m:1 has no 2"]


def test_a_number_given_twice_is_a_hole() -> None:
    assert check([], [Row(M, 1), Row(M, 1)]).holes == ["m:1 has 1 2 times"]


def test_an_acknowledgement_of_what_is_not_there_is_false() -> None:
    verdict = check(history(*CLEAN, invoke("ada", "c"), ok("ada", "c", 4)), LEDGER)
    assert len(verdict.false_acks) == 1


def test_an_acknowledgement_with_the_number_of_another_event_is_false() -> None:
    lines = [ok("ada", "a", 2) if line == ok("ada", "a", 1) else line for line in CLEAN]
    assert len(check(history(*lines), LEDGER).false_acks) == 1


def test_two_effects_of_one_key_are_found() -> None:
    ledger = [*LEDGER, Row(M, 4, "a")]
    verdict = check(history(*CLEAN, recv("ada", 4, "a"), recv("bob", 4, "a")), ledger)
    assert verdict.doubled == ["a happened 2 times in m:1"]


def test_an_effect_of_what_was_refused_is_found() -> None:
    lines = [line for line in CLEAN if line != ok("bob", "b", 3)]
    refused: tuple[str, Kind, dict[str, Any]] = ("bob", "fail", {"key": "b", "detail": "CHAT_DISABLED"})
    assert check(history(*lines, refused), LEDGER).zombies == ["b was refused with CHAT_DISABLED"]


def test_what_nobody_knows_may_have_happened_or_not() -> None:
    lines = [line for line in CLEAN if line[1] != "ok"]
    for ledger in (LEDGER, LEDGER[:1]):
        heard = [line for line in lines if line[1] != "recv" or (line[2]["seq"] <= len(ledger))]
        verdict = check(history(*heard), ledger)
        assert (verdict.defects, verdict.unknown) == ([], 2)


def test_a_private_message_may_be_in_two_streams_and_heard_by_two() -> None:
    ledger = [Row("p:ada", 1, "s"), Row("p:bob", 1, "s")]
    lines = [start("ada", "p:ada"), start("bob", "p:bob"), invoke("ada", "s", {"ada", "bob"})]
    heard = [ok("ada", "s", 1, "p:ada"), recv("ada", 1, "s", "p:ada"), recv("bob", 1, "s", "p:bob")]
    assert check(history(*lines, *heard), ledger).defects == []


def test_a_private_message_that_somebody_else_hears_is_a_leak() -> None:
    ledger = [Row("p:ada", 1, "s"), Row("p:bob", 1, "s"), Row(M, 1, "s")]
    lines = [invoke("ada", "s", {"ada", "bob"}), recv("bob", 1, "s", "p:bob"), recv("eve", 1, "s")]
    assert check(history(*lines), ledger, all_heard=False).leaks == ["eve heard s"]


def test_what_a_snapshot_tells_is_not_lost_and_the_resync_is_counted() -> None:
    lines = [start("ada"), recv("ada", 1, "a"), start("ada", seq=2, detail="resync"), recv("ada", 3, "b")]
    verdict = check(history(*lines), LEDGER)
    assert (verdict.defects, verdict.resyncs) == ([], 1)


def test_delays_run_from_the_acknowledgement_and_are_never_negative() -> None:
    found = delays(history(*CLEAN))
    assert found.seconds == (0.0, 0.0, 1.0, 1.0)  # a: bob before the ack, ada 1 after; b: ada before, bob 1 after
    assert (found.longest, found.p50) == (1.0, 1.0)
    assert delays(history(*CLEAN), since=100).p99 == 0.0


def test_an_answer_takes_as_long_as_all_its_retries() -> None:
    assert answers(history(*CLEAN)).seconds == (2.0, 3.0)
