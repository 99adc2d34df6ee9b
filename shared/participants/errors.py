"""Refusals of participants."""

from shared.core.errors import DomainError, InsufficientPermission


class ParticipantNotFound(DomainError):
    code, status = "PARTICIPANT_NOT_FOUND", 404
    message = "There is no such participant."


class ParticipantExists(DomainError):
    code, status = "PARTICIPANT_EXISTS", 409
    message = "This person is invited already."


class NotInside(InsufficientPermission):
    """A member who is not in the meeting right now; `join` is the door."""

    message = "Join the meeting first."

    def __init__(self) -> None:
        super().__init__(details={"rule": "inside", "remedy": self.message})
