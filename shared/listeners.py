"""Every listener of the product; importing this registers them, in this order."""

from shared.audit import listeners as audit
from shared.participants import listeners as participants
from shared.policies import listeners as policies
from shared.webhooks import listeners as webhooks

__all__ = ["audit", "participants", "policies", "webhooks"]
