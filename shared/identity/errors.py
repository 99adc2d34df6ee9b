"""Refusals of identity."""

from shared.core.errors import DomainError, InsufficientPermission


class Unauthenticated(DomainError):
    code, status = "UNAUTHENTICATED", 401
    message = "Log in, and send the access token as Authorization: Bearer."


class TokenExpired(DomainError):
    code, status = "TOKEN_EXPIRED", 401
    message = "The token has expired; refresh it."


class TokenRevoked(DomainError):
    code, status = "TOKEN_REVOKED", 401
    message = "The token was revoked; log in again."


class InvalidCredentials(Unauthenticated):
    """Wrong e-mail or password; the same answer for both, so that nobody learns who has an account."""

    message = "The e-mail address or the password is wrong."


class InsufficientScope(DomainError):
    code, status = "INSUFFICIENT_SCOPE", 403
    message = "The API key was not made for this."


class KeyNotAccepted(InsufficientPermission):
    """A valid API key, of the user `owner_id`, where only people come in: accounts, keys themselves, WebSockets."""

    message = "API keys are not accepted here."

    def __init__(self, owner_id: str | None = None) -> None:
        self.owner_id = owner_id
        super().__init__(details={"rule": "api_key", "remedy": "Send a user's access token."})


class EmailTaken(DomainError):
    code, status = "EMAIL_TAKEN", 409
    message = "There is an account with this e-mail address."
