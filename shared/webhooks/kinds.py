"""What a webhook can be told: the names of the contract (10), and which events of the ledger they are."""

from typing import Any

TEST = "webhook.test"

# By the type of the event, and by the field that tells apart what has the same type.
_TOLD_APART_BY = {"meeting_status": "action", "chat": "action", "recording": "status"}
_NAMES = {
    ("meeting_status", "started"): "meeting.started",
    ("meeting_status", "updated"): "meeting.updated",
    ("meeting_status", "ended"): "meeting.ended",
    ("meeting_status", "cancelled"): "meeting.cancelled",
    ("join", None): "participant.joined",
    ("participant_update", None): "participant.updated",
    ("leave", None): "participant.left",
    ("chat", "posted"): "chat.message",
    ("chat", "edited"): "chat.message_edited",
    ("chat", "deleted"): "chat.message_deleted",
    ("recording", "completed"): "recording.completed",
    ("recording", "failed"): "recording.failed",
}
KINDS = tuple(_NAMES.values())


def kind_of(type_: str, data: dict[str, Any]) -> str | None:
    """Return what webhooks call an event of the meeting's stream; None for what they are not told."""
    field = _TOLD_APART_BY.get(type_)
    return _NAMES.get((type_, data.get(field) if field else None))
