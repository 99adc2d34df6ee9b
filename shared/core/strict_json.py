"""JSON that means one thing to everybody who reads it (RFC 8259, I-JSON RFC 7493), in and out.

orjson does the parsing. What it lets through and we do not (duplicate keys, NUL, deep nesting, integers that other
readers would round) is found by checks that cost little when nothing is wrong.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1  # RFC 7493 section 2.2: the largest that a double holds and nothing else rounds to

# In a text that orjson accepted: an odd number of backslashes escapes the u, an even number is only backslashes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_UNSURE = float("-inf")  # added to a number of members, it equals no number of colons


class MalformedJson(ValueError):
    """The bytes are not JSON, or hold a number or character that no reader could keep."""


class RefusedJson(ValueError):
    """The bytes are JSON, but ambiguous or not storable. The text says why, for the sender."""


def loads(data: bytes) -> Any:
    """Return the value that UTF-8 JSON text stands for.

    Raises MalformedJson, or RefusedJson for a key given twice, NUL in a string, more than 32 levels, and integers
    outside ±(2**53 - 1).
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as broken:
        raise MalformedJson(str(broken)) from None
    if b"\\u0000" in data and _NUL.search(data):
        raise RefusedJson("NUL characters are not allowed.")
    # Every member of the text has its colon. No more colons than members in the value: none was overwritten.
    if _count_members([value], 0) != data.count(b":"):
        _read_slowly(data)
    return value


def _count_members(value: dict[str, Any] | list[Any], depth: int) -> float:
    """Return the number of keys in all objects of `value`, or _UNSURE if it holds a number that is too large.

    Such a number may have been an integer also where it is a float now: orjson turns those over 64 bits into one.
    Raises RefusedJson when the nesting is too deep.
    """
    if depth > MAX_DEPTH:
        raise RefusedJson(f"More than {MAX_DEPTH} levels of nesting are not allowed.")
    members: float = 0
    children: Iterable[Any] = value
    if isinstance(value, dict):
        members = len(value)
        children = value.values()
    for child in children:
        kind = type(child)
        if kind is dict or kind is list:
            members += _count_members(child, depth + 1)
        elif (kind is int or kind is float) and not -MAX_INTEGER <= child <= MAX_INTEGER:
            members = _UNSURE
    return members


def _read_slowly(data: bytes) -> None:
    """Look at every key and every integer as it was written. Raises RefusedJson."""
    json.loads(data.decode(), object_pairs_hook=_refuse_duplicates, parse_int=_refuse_large, parse_float=_ignore)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    times = Counter(key for key, _ in pairs)
    if len(times) < len(pairs):
        raise RefusedJson(f"The key {times.most_common(1)[0][0][:64]!r} is there twice.")


def _refuse_large(digits: str) -> None:
    # Python refuses to convert very long ones, and they need no comparing.
    if len(digits) > 17 or not -MAX_INTEGER <= int(digits) <= MAX_INTEGER:
        raise RefusedJson("Integers beyond 2**53 - 1 lose digits in other programs; send them as strings.")


def _ignore(_: str) -> None:
    """Take a number that has a fraction or an exponent: those are doubles for everybody."""


def dumps(value: Any) -> bytes:
    """Return JSON text. Datetimes must be aware and become `2026-01-02T03:04:05.678Z`, cut to milliseconds.

    Raises TypeError for what has no JSON form, a naive datetime included.
    """
    return orjson.dumps(value, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _default(value: Any) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("a naive datetime has no place on the wire")
        return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    raise TypeError(f"{type(value).__name__} has no JSON form")
