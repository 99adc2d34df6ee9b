"""Names that people show to each other."""

import re
import unicodedata

MAX_LENGTH = 100

# A zero-width joiner makes one emoji of several; anywhere else it only hides.
_HIDING_JOINER = re.compile(
    r"(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d|\u200d(?![\u2190-\u2bff\U0001f000-\U0001faff])"
)
# Blank, although Unicode calls them letters, a symbol and marks (Default_Ignorable_Code_Point). U+FE0F stays: it makes
# an emoji of a symbol.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0))))
)


def clean_name(text: str) -> str:
    """Return a display name without what could deceive: NFC, one line, no control, bidi or invisible characters.

    The zero-width joiner inside an emoji stays. The result may be empty; the caller decides whether that is allowed.
    """
    kept = "".join(" " if c.isspace() else c for c in text if _is_visible(c))
    normal = unicodedata.normalize("NFC", _HIDING_JOINER.sub("", kept))
    return _HIDING_JOINER.sub("", " ".join(normal.split())[:MAX_LENGTH]).strip()


def look_alike(one: str, other: str) -> bool:
    """Tell whether two names read the same: without regard to case, width, ligatures and white space."""
    return _read(one) == _read(other)


def _read(name: str) -> str:
    # Twice: folding case can leave what NFKC composes (UAX #31, NFKC_Casefold).
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean_name(name)).casefold())
    return "".join(folded.replace("\ufe0f", "").split())


def marked(name: str, mark: str) -> str:
    """Return a name with a mark behind it, such as `Ada (guest)`, no longer than names may be."""
    return f"{name[: MAX_LENGTH - len(mark) - 3].rstrip()} ({mark})"


def _is_visible(character: str) -> bool:
    if character.isspace() or character == "\u200d":
        return True
    # Cc control, Cf format (bidi marks, zero width), Cs surrogates, Co private use, Cn unassigned
    return character not in _BLANK and not unicodedata.category(character).startswith("C")
