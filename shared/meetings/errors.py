"""Refusals of meetings. MEETING_ENDED belongs to the ledger, which refuses to write behind the end."""

from shared.core.errors import DomainError
from shared.core.ledger import StreamClosed


class MeetingEnded(StreamClosed):
    """The meeting is completed."""


class MeetingNotFound(DomainError):
    code, status = "MEETING_NOT_FOUND", 404
    message = "There is no such meeting."


class MeetingAlreadyActive(DomainError):
    code, status = "MEETING_ALREADY_ACTIVE", 409
    message = "The meeting is running already."


class MeetingNotActive(DomainError):
    code, status, retryable = "MEETING_NOT_ACTIVE", 400, True
    message = "The meeting has not started."


class InvalidMeetingState(DomainError):
    code, status = "INVALID_MEETING_STATE", 400
    message = "The meeting's state does not allow this."
