"""Refusals about jobs."""

from shared.core.errors import DomainError


class JobNotFound(DomainError):
    """No such job, or somebody else's."""

    code, status = "JOB_NOT_FOUND", 404
    message = "There is no such job."


class JobNotCancellable(DomainError):
    """The job is under way, or over."""

    code, status = "JOB_NOT_CANCELLABLE", 409
    message = "Only a job that has not begun can be cancelled."
