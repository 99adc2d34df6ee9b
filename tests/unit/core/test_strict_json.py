"""JSON that means one thing to everybody who reads it."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.strict_json import MAX_DEPTH, MAX_INTEGER, MalformedJson, RefusedJson, dumps, loads

pytestmark = pytest.mark.once

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))


@given(values)
def test_what_can_be_kept_is_read_as_the_standard_library_reads_it(value: Any):
    text = json.dumps(value)
    assert loads(text.encode()) == json.loads(text)


@given(values)
def test_what_is_written_is_read_back(value: Any):
    assert loads(dumps(value)) == value


@given(st.dictionaries(texts, values, min_size=1, max_size=4), st.data())
def test_a_key_that_is_there_twice_is_refused_wherever_it_is(members: dict[str, Any], data: st.DataObject):
    twice = data.draw(st.sampled_from(sorted(members)))
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in members.items()]
    parts.insert(data.draw(st.integers(0, len(parts))), f"{json.dumps(twice)}: 1")
    text = "{" + ", ".join(parts) + "}"
    for wrapped in (text, f"[{text}]", f'{{"a:b": {text}}}'):
        with pytest.raises(RefusedJson, match="twice"):
            loads(wrapped.encode())


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"ping","type":"kick"}',
        b'{"type":"ping","\\u0074ype":"kick"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":{},"b":{"c":1}}]}',
        b'{"a":{"x":1,"y":2},"a":{}}',
        b'{"a":"::::","a":""}',
    ],
)
def test_s79_a_duplicate_key_is_refused(text: bytes):
    with pytest.raises(RefusedJson, match="twice"):
        loads(text)


def test_s79_keys_that_differ_in_case_are_two_keys():
    assert loads(b'{"type":1,"Type":2}') == {"type": 1, "Type": 2}


def test_a_long_duplicate_key_is_not_repeated_in_full():
    key = b'"' + b"k" * 1000 + b'"'
    with pytest.raises(RefusedJson) as refused:
        loads(b"{" + key + b":1," + key + b":2}")
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'a':1}",
        b"[1,]",
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b'"\x00"',
        b"{} {}",
        b"[" * 100_000,
        b"01",
        b"+1",
        b".5",
    ],
)
def test_s84_what_is_no_json_is_malformed(text: bytes):
    with pytest.raises(MalformedJson):
        loads(text)


@pytest.mark.parametrize("text", [b'"\\u0000"', b'{"\\u0000":1}', b'["\\\\\\u0000"]', b'"a\\u0000"'])
def test_s84_nul_is_refused(text: bytes):
    with pytest.raises(RefusedJson, match="NUL"):
        loads(text)


def test_a_backslash_before_u0000_is_no_nul():
    assert loads(b'"\\\\u0000"') == "\\u0000"
    assert loads(b'"\\\\\\\\u0000"') == "\\\\u0000"


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**53 + 1, 2**63, 2**64, -(2**64), 10**30, -(10**30)])
def test_s84_an_integer_that_others_would_round_is_refused(number: int):
    for text in (f"{number}", f'{{"a":[{number}]}}', f'[1.5, {number}, "a:b"]'):
        with pytest.raises(RefusedJson, match=r"2\*\*53"):
            loads(text.encode())


def test_s82_an_integer_of_5000_digits_is_refused():
    with pytest.raises((MalformedJson, RefusedJson)):
        loads(b"9" * 5000)


@pytest.mark.parametrize("text", [f"{MAX_INTEGER}", f"-{MAX_INTEGER}", "1e300", "-1.5e300", "9007199254740993.5", "0"])
def test_numbers_that_everybody_keeps_pass(text: str):
    assert loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_s82_nesting_has_an_end(opening: str, closing: str):
    def nested(levels: int) -> bytes:
        return (opening * levels + "1" + closing * levels).encode()

    assert loads(nested(MAX_DEPTH)) is not None
    for levels in (MAX_DEPTH + 1, 500, 1000):
        with pytest.raises(RefusedJson, match="nesting"):
            loads(nested(levels))


@given(st.binary(max_size=60))
def test_garbage_is_read_or_refused_and_nothing_else(data: bytes):
    try:
        value = loads(data)
    except (MalformedJson, RefusedJson):
        return
    assert dumps(value)


# --- out ----------------------------------------------------------------------------------------------------------


def test_a_time_goes_out_in_utc_cut_to_milliseconds():
    moment = datetime(2026, 1, 2, 5, 4, 5, 678_999, timezone(timedelta(hours=2)))
    assert dumps({"at": moment}) == b'{"at":"2026-01-02T03:04:05.678Z"}'
    assert dumps(datetime(2026, 1, 2, tzinfo=UTC)) == b'"2026-01-02T00:00:00.000Z"'


@pytest.mark.parametrize("value", [datetime(2026, 1, 2), {1, 2}, b"bytes", object(), {"deep": [object()]}])
def test_what_has_no_json_form_is_not_written(value: Any):
    with pytest.raises(TypeError):
        dumps(value)
