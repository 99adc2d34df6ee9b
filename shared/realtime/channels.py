"""Names of Redis channels, built in one place, and which server carries them."""

import zlib

CONTROL = "parley:control"


def meeting_channel(meeting_id: str) -> str:
    """Return the channel on which everything that is told in a meeting travels, on all of its streams."""
    return f"parley:m:{meeting_id}"


def server_of(channel: str, servers: int) -> int:
    """Return which of so many Redis servers carries a channel: in all processes the same."""
    return zlib.crc32(channel.encode()) % servers
