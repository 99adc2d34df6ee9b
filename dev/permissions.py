"""The reference page of permissions: asked of the table and its checks, cell by cell."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.core.errors import DomainError
from shared.meetings.models import IN_PROGRESS, Meeting
from shared.participants.membership import Membership, check_permitted
from shared.participants.models import (
    ATTENDEE,
    CO_HOST,
    HOST,
    INVITED,
    JOINED,
    LEFT,
    REMOVED,
    ROLES,
    WAITING,
    Participant,
)
from shared.participants.permissions import MEETING_LISTEN, PERMISSIONS, Permission
from web.http.door import DOORS, Who
from web.realtime.frame_types import FRAME_TYPES

Table = Callable[[tuple[str, ...], Iterable[tuple[str, ...]]], str]

# Role and status of those who ask; None has no place in the meeting. A guest has no account.
ASKERS: dict[str, tuple[str, str] | None] = {
    "host": (HOST, JOINED),
    "co-host": (CO_HOST, JOINED),
    "attendee": (ATTENDEE, JOINED),
    "guest": (ATTENDEE, JOINED),
    "invited": (ATTENDEE, INVITED),
    "left": (ATTENDEE, LEFT),
    "waiter": (ATTENDEE, WAITING),
    "removed": (ATTENDEE, REMOVED),
    "outsider": None,
}

LEAD = (
    "Who may do what. A meeting is running; *guest* is an attendee without an account, *invited* was never inside, "
    "*left* was, *outsider* has an account and no place in the meeting. The rules of a meeting (`chat_permissions` …) "
    "can take more away."
)
PLACES = {
    "anywhere": "",
    "member": "has a place in the meeting",
    "reader": "is inside or was; hosts and co-hosts always",
    "listener": "is inside, or waits",
    "inside": "is inside",
}


def body(table: Table) -> str:
    """Return the body of the page; `table` makes one of head and rows."""
    named = [
        (f"`{p.name}`", *("yes" if role in p.roles else "" for role in ROLES), PLACES[p.where], p.meaning)
        for _, p in sorted(PERMISSIONS.items())
    ]
    return (
        "## Operations\n\nA status says how the request is refused: with 404 the meeting is not even there. "
        "An API key acts as its owner, and must have been made for all the scopes named here.\n\n"
        + table(("Operation", "Permission", "API key", *ASKERS), _operations())
        + "\n## Permissions\n\n"
        + table(("Permission", *ROLES, "Who", "What"), named)
    )


def _operations() -> Iterator[tuple[str, ...]]:
    for door in sorted(DOORS, key=lambda one: one.path):
        path = door.path.removeprefix("/api/v1").replace("<", "{").replace(">", "}")
        yield _row(f"`{door.method} {path}`", door.permission, door.who)
    yield _row("`WS /ws/meetings/{meeting_id}`", MEETING_LISTEN, "member")
    for name, kind in sorted(FRAME_TYPES.items()):
        yield _row(f"frame `{name}`", kind.permission, "member")


def _row(operation: str, permission: Permission | None, who: Who) -> tuple[str, ...]:
    name = f"`{permission.name}`" if permission else ""
    scopes = ", ".join(f"`{scope}`" for scope in permission.scopes) if permission else ""
    return (operation, name, scopes or "403", *(outcome(permission, who, asker) for asker in ASKERS))


def outcome(permission: Permission | None, who: Who, asker: str) -> str:
    """Return `yes`, or the status with which somebody is refused."""
    if asker == "guest" and who not in ("member", "anyone"):
        return "401"
    if permission is None or permission.where == "anywhere":
        return "yes"
    standing = ASKERS[asker]
    if standing is None:
        return "404"
    try:
        check_permitted(Membership(_meeting(), _person(*standing)), permission)
    except DomainError as refused:
        return str(refused.status)
    return "yes"


def _meeting() -> Meeting:
    fields: dict[str, Any] = dict.fromkeys(Meeting.__slots__) | {"status": IN_PROGRESS}
    return Meeting(**fields)


def _person(role: str, status: str) -> Participant:
    came = status in (JOINED, LEFT) or None  # of when somebody came only that they did is asked
    fields: dict[str, Any] = dict.fromkeys(Participant.__slots__)
    return Participant(**fields | {"role": role, "status": status, "joined_at": came})
