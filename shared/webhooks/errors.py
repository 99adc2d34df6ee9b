"""Refusals of webhooks."""

from shared.core.errors import DomainError, NotFound


class WebhookNotFound(NotFound):
    """Somebody else's, or nobody's; the same answer for both."""

    message = "There is no such webhook."


class WebhookLimitReached(DomainError):
    code, status = "WEBHOOK_LIMIT_REACHED", 403
    message = "You have as many webhooks as one may have; delete one first."
