"""Names of Redis channels and keys, built in one place."""

CONTROL = "parley:control"


def meeting_channel(meeting_id: str) -> str:
    """Return the channel on which everything that is told in a meeting travels, on all of its streams."""
    return f"parley:m:{meeting_id}"
