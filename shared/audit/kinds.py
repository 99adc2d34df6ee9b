"""The kinds of acts: the name of the permission that was used, or missed; finer where one permission covers several."""

from shared.participants.permissions import PERMISSIONS

BAN = "participants.ban"
INVITE = "participants.invite"
ADMIT = "waiting_room.admit"
DENY = "waiting_room.deny"
GUEST_TOKEN = "guests.token"  # noqa: S105  the name of an act

KINDS = tuple(sorted({*PERMISSIONS, BAN, INVITE, ADMIT, DENY, GUEST_TOKEN}))
