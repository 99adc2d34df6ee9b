"""What an API key can be made for (contract 2). Which operation needs which: shared/participants/permissions.py."""

from typing import Literal, get_args

Scope = Literal[
    "meetings:read",
    "meetings:write",
    "participants:read",
    "participants:write",
    "chat:read",
    "chat:write",
    "recordings:read",
    "recordings:write",
    "webhooks:write",
    "analytics:read",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
