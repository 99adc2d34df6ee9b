"""What happens to accounts, for listeners in the same transaction."""

from dataclasses import dataclass

from shared.core.messages import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered(Event):
    """Somebody has an account now."""

    user_id: str
    email: str
    name: str
