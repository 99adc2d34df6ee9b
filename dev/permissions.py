"""The reference page of permissions: asked of the table and its checks, cell by cell."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.core.errors import DomainError
from shared.meetings.models import CANCELLED, COMPLETED, IN_PROGRESS, SCHEDULED, STATUSES, Meeting
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
from web.http.door import DOORS, Door, Who
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

# In which states of the meeting an operation is open; the others that change something are so while it runs.
STATES = {
    "PATCH /meetings/{meeting_id}": (SCHEDULED, IN_PROGRESS),
    "DELETE /meetings/{meeting_id}": (SCHEDULED,),
    "POST /meetings/{meeting_id}/start": (SCHEDULED,),
    "POST /meetings/{meeting_id}/participants/{participant_id}/remove": (SCHEDULED, IN_PROGRESS),
    "POST /meetings/{meeting_id}/security/policy": (SCHEDULED, IN_PROGRESS),
    "PATCH /meetings/{meeting_id}/security/policy": (SCHEDULED, IN_PROGRESS),
    "POST /meetings/{meeting_id}/security/policy/simulate": STATUSES,
    "POST /meetings/{meeting_id}/security/validate-access": STATUSES,
}
CLOSED = {
    SCHEDULED: "MEETING_NOT_ACTIVE",
    IN_PROGRESS: "INVALID_MEETING_STATE",
    COMPLETED: "MEETING_ENDED",
    CANCELLED: "INVALID_MEETING_STATE",
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
        + "\n## States\n\nWho would be allowed is told how the meeting stands; where one must be inside or wait, all "
        "of the meeting are. Of what is not named here, what only reads is open in any state, the rest while the "
        "meeting is in progress.\n\n"
        + table(("Operation", *STATUSES), _states())
        + "\n## Permissions\n\n"
        + table(("Permission", *ROLES, "Who", "What"), named)
    )


def _operations() -> Iterator[tuple[str, ...]]:
    for door in sorted(DOORS, key=lambda one: one.path):
        yield _row(f"`{operation(door)}`", door.permission, door.who)
    yield _row("`WS /ws/meetings/{meeting_id}`", MEETING_LISTEN, "member")
    for name, kind in sorted(FRAME_TYPES.items()):
        yield _row(f"frame `{name}`", kind.permission, "member")


def operation(door: Door) -> str:
    """Return what a door is called: its method and its path."""
    return f"{door.method} {door.path.removeprefix('/api/v1').replace('<', '{').replace('>', '}')}"


def states(door: Door) -> tuple[str, ...]:
    """Return the states of a meeting in which a door of it is open."""
    return STATES.get(operation(door), STATUSES if door.method == "GET" else (IN_PROGRESS,))


def closed(name: str, state: str) -> str:
    """Return the code with which an operation is refused in a state of the meeting in which it is not open."""
    is_second_start = (name, state) == ("POST /meetings/{meeting_id}/start", IN_PROGRESS)
    return "MEETING_ALREADY_ACTIVE" if is_second_start else CLOSED[state]


def _states() -> Iterator[tuple[str, ...]]:
    for name, open_in in STATES.items():
        yield (f"`{name}`", *("open" if state in open_in else f"`{closed(name, state)}`" for state in STATUSES))


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


def outcome_in(state: str, door: Door, asker: str) -> str:
    """Return `yes`, the status with which somebody is refused, or the code that tells how the meeting stands."""
    running = outcome(door.permission, door.who, asker)
    if running in ("404", "401"):
        return running
    if door.permission is not None and door.permission.where in ("inside", "listener"):
        return running if state == IN_PROGRESS else CLOSED[state]
    return running if running == "403" or state in states(door) else closed(operation(door), state)


def _meeting() -> Meeting:
    fields: dict[str, Any] = dict.fromkeys(Meeting.__slots__) | {"status": IN_PROGRESS}
    return Meeting(**fields)


def _person(role: str, status: str) -> Participant:
    came = status in (JOINED, LEFT) or None  # of when somebody came only that they did is asked
    fields: dict[str, Any] = dict.fromkeys(Participant.__slots__)
    return Participant(**fields | {"role": role, "status": status, "joined_at": came})
