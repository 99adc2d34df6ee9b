"""Identifiers: 26-character ULIDs, sortable by the millisecond they were made in."""

import re

from ulid import ULID

_FORM = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
LENGTH = 26


def new_id() -> str:
    """Return a fresh ULID in its canonical upper-case form."""
    return str(ULID())


def is_id(text: object) -> bool:
    """Tell whether `text` has the form of an id of ours; anything else cannot name an object (contract 1: 404)."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None
