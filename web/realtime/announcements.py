"""What the server's frames carry: one schema for the `data` of every event class, declared beside its frame types.

The AsyncAPI document is made from this table, and the tests hold every event that leaves against it.
"""

from shared.core.messages import Announcement
from web.http.schema import Schema

ANNOUNCEMENTS: dict[type[Announcement], Schema] = {}


def announces(schema: Schema, *events: type[Announcement]) -> None:
    """Declare what the `data` of these events looks like."""
    for event in events:
        if event in ANNOUNCEMENTS:
            raise TypeError(f"{event.__name__} has a schema already")
        ANNOUNCEMENTS[event] = schema
