"""Opaque cursors: where the next page of a list begins."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeVar

from shared.core.errors import ValidationFailed

T = TypeVar("T")


def encode_cursor(*parts: object) -> str:
    """Return the cursor behind an element, from what the list is ordered by."""
    return base64.urlsafe_b64encode(":".join(map(str, parts)).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, count: int) -> list[str]:
    """Return the `count` parts of a cursor. Raises ValidationFailed when it is not one of ours."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = raw.decode("ascii").split(":")
    except (ValueError, binascii.Error):
        parts = []
    if len(parts) != count or not all(p.isalnum() for p in parts):
        raise ValidationFailed(details={"cursor": ["Use next_cursor of the page before."]})
    return parts


def number_in(part: str) -> int:
    """Return the number that a part of a cursor stands for. Raises ValidationFailed for what no row can have."""
    if not (part.isascii() and part.isdecimal() and len(part) < 19):
        raise ValidationFailed(details={"cursor": ["Use next_cursor of the page before."]})
    return int(part)


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """Split one row too many off: return the page, and whether there is another one."""
    return rows[:limit], len(rows) > limit


def pagination(limit: int, next_cursor: str | None) -> dict[str, Any]:
    """Return the `pagination` of a list's envelope."""
    return {"limit": limit, "next_cursor": next_cursor}
