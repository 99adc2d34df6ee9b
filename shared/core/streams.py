"""Names of streams: one gapless sequence per audience (promises 1.1, contract 11).

Inside, a stream has a key that is unique in the installation; a client sees a name that is relative to itself.
"""

_PREFIX_TO_NAME = {"m": "meeting", "h": "hosts", "p": "me"}


def meeting_stream(meeting_id: str) -> str:
    """Return the key of the stream that all admitted people of a meeting hear."""
    return f"m:{meeting_id}"


def hosts_stream(meeting_id: str) -> str:
    """Return the key of the stream that hosts and co-hosts hear."""
    return f"h:{meeting_id}"


def personal_stream(participant_id: str) -> str:
    """Return the key of the stream that one participant hears."""
    return f"p:{participant_id}"


def is_hosts_stream(key: str) -> bool:
    """Tell whether this is a stream of hosts and co-hosts."""
    return key.startswith("h:")


def is_personal_stream(key: str) -> bool:
    """Tell whether one participant hears this alone."""
    return key.startswith("p:")


def wire_name(key: str) -> str:
    """Return what a client calls the stream: `meeting`, `hosts` or `me`."""
    return _PREFIX_TO_NAME[key.partition(":")[0]]
