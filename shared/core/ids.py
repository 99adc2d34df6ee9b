"""Identifiers: 26-character ULIDs, sortable by the millisecond they were made in."""

import re

from ulid import PureRandomPolicy, ULIDGenerator

_FORM = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
LENGTH = 26

# By default the second id of a millisecond is the first plus one. Ids are handed to strangers (X-Request-ID), who
# could then guess the meeting that was made in the same moment.
_generator = ULIDGenerator(policy=PureRandomPolicy())


def new_id() -> str:
    """Return a fresh ULID in its canonical upper-case form."""
    return str(_generator.generate())


def is_id(text: object) -> bool:
    """Tell whether `text` has the form of an id of ours; anything else cannot name an object (contract 1: 404)."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None
