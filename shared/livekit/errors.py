"""Refusals of the media side."""

from shared.core.errors import DomainError


class LiveKitTokenError(DomainError):
    code, status = "LIVEKIT_TOKEN_ERROR", 500
    message = "LiveKit is not configured; set LIVEKIT_SERVER_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET."
