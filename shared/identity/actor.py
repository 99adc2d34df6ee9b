"""The actor: who is asking. Made by a door from a credential, never from what the client says about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody with a valid credential.

    A user has `user_id`, `email` and `session_id`. A guest has none of them: only the `participant_id` and
    `meeting_id` of the one meeting the guest token is for.
    """

    name: str
    user_id: str | None = None
    email: str | None = None
    session_id: str | None = None
    participant_id: str | None = None
    meeting_id: str | None = None

    @property
    def is_guest(self) -> bool:
        """Tell whether this is a guest."""
        return self.user_id is None

    @property
    def key(self) -> str:
        """Return what rate limits and idempotency keys count by."""
        return self.user_id or self.participant_id or "anonymous"
