"""What may be a link in a chat: clients make it clickable."""

from urllib.parse import urlsplit


def is_web_address(text: str) -> bool:
    """Tell whether a text is an http or https URL, and nothing else."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c.isspace() for c in text)
