"""How meetings look to clients."""

from typing import Any

from shared.core import strict_json
from shared.core.ledger import Entry
from shared.core.streams import wire_name
from shared.meetings.models import Meeting
from web.http.runtime import current_runtime


def meeting_view(meeting: Meeting) -> dict[str, Any]:
    """Return a meeting for MeetingView."""
    return {
        "meeting_id": meeting.id,
        "title": meeting.title,
        "description": meeting.description,
        "status": meeting.status,
        "host": {"user_id": meeting.host_id, "name": meeting.host_name},
        "scheduled_start": meeting.scheduled_start,
        "scheduled_end": meeting.scheduled_end,
        "time_zone": meeting.time_zone,
        "started_at": meeting.started_at,
        "ended_at": meeting.ended_at,
        "join_url": f"{current_runtime().settings.base_url.rstrip('/')}/join/{meeting.id}",
        "created_at": meeting.created_at,
    }


def event_view(entry: Entry) -> dict[str, Any]:
    """Return an event of the ledger for EventView."""
    return {
        "type": entry.type,
        "meeting_id": entry.meeting_id,
        "user_id": entry.actor_id,
        "data": strict_json.loads(entry.data.encode()),
        "timestamp": entry.created_at,
        "stream": wire_name(entry.stream),
        "seq": entry.seq,
    }
