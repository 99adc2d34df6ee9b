"""Names that people show to each other."""

import unicodedata

MAX_LENGTH = 100


def clean_name(text: str) -> str:
    """Return a display name without what could deceive: NFC, one line, no control, bidi or invisible characters.

    An emoji's zero-width joiner stays. The result may be empty; the caller decides whether that is allowed.
    """
    normal = unicodedata.normalize("NFC", text)
    kept = "".join(" " if c.isspace() else c for c in normal if _is_visible(c))
    return " ".join(kept.split())[:MAX_LENGTH].strip().strip("\u200d")


def _is_visible(character: str) -> bool:
    if character.isspace() or character == "\u200d":
        return True
    # Cc control, Cf format (bidi marks, zero width), Cs surrogates, Co private use, Cn unassigned
    return not unicodedata.category(character).startswith("C")
