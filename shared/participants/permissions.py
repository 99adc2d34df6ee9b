"""Who may do what: the one table of named permissions (contract 2 to 7). Pure: no database.

Services ask for a permission, never for a role. Each door and each type of frame declares the one it needs; the OpenAPI
document, the scopes of API keys and docs/reference/permissions.md are made from that. What a policy takes from people
who have a permission (`chat_permissions` …) is decided after it.
"""

from dataclasses import dataclass
from typing import Literal

from shared.core.errors import InsufficientPermission
from shared.identity.scopes import Scope
from shared.participants.models import ATTENDEE, CO_HOST, HOST, STAFF, Participant

# anywhere   nobody's place in a meeting is asked for
# member     a place in the meeting, whatever its status, but that of removed and denied people
# reader     who is inside or was, and hosts and co-hosts
# listener   who is inside the running meeting, or waits in front of it
# inside     who is inside the running meeting
Where = Literal["anywhere", "member", "reader", "listener", "inside"]


@dataclass(frozen=True, slots=True)
class Permission:
    """What may be done, by which roles, from where. `meaning` is its line in the reference.

    `scopes` are what an API key must have been made for, all of them, at a door that needs this permission; none: such
    a door takes no keys, or no door needs it, but a service asks for it behind one that needs another.
    """

    name: str
    meaning: str
    where: Where
    roles: tuple[str, ...]
    scopes: tuple[Scope, ...]


PERMISSIONS: dict[str, Permission] = {}

_ALL = (HOST, CO_HOST, ATTENDEE)
_ONLY_HOST = (HOST,)


def _permission(
    name: str, meaning: str, where: Where, roles: tuple[str, ...] = _ALL, *, scopes: tuple[Scope, ...] = ()
) -> Permission:
    if name in PERMISSIONS:
        raise TypeError(f"permission {name} is declared twice")
    PERMISSIONS[name] = Permission(name, meaning, where, roles, scopes)
    return PERMISSIONS[name]


MEETING_CREATE = _permission(
    "meeting.create", "Create a meeting, and become its host.", "anywhere", scopes=("meetings:write",)
)
MEETING_LIST = _permission("meeting.list", "List one's own meetings.", "anywhere", scopes=("meetings:read",))
MEETING_READ = _permission("meeting.read", "Read a meeting and how it stands.", "member", scopes=("meetings:read",))
MEETING_UPDATE = _permission(
    "meeting.update", "Change title, description and schedule.", "member", _ONLY_HOST, scopes=("meetings:write",)
)
MEETING_CANCEL = _permission(
    "meeting.cancel", "Cancel a scheduled meeting.", "member", _ONLY_HOST, scopes=("meetings:write",)
)
MEETING_START = _permission("meeting.start", "Let people in.", "member", STAFF, scopes=("meetings:write",))
MEETING_END = _permission("meeting.end", "End the meeting for everybody.", "member", STAFF, scopes=("meetings:write",))
MEETING_CARD = _permission("meeting.card", "See what the join page shows.", "anywhere", scopes=("meetings:read",))
MEETING_JOIN = _permission(
    "meeting.join", "Ask for entry; the policy decides.", "anywhere", scopes=("participants:write",)
)
MEETING_LEAVE = _permission(
    "meeting.leave", "Go out of the meeting, or of its waiting room.", "member", scopes=("participants:write",)
)
MEETING_LISTEN = _permission("meeting.listen", "Open the WebSocket.", "listener")
MEDIA_CONNECT = _permission(
    "media.connect", "Get a token for the media server.", "inside", scopes=("participants:write",)
)

EVENTS_READ = _permission(
    "events.read",
    "Read what happened while one was inside.",
    "reader",
    scopes=("meetings:read", "participants:read", "chat:read"),
)
EVENTS_READ_HOSTS = _permission("events.read_hosts", "Hear and read the stream `hosts`.", "reader", STAFF)
SNAPSHOT_READ = _permission(
    "snapshot.read", "Read the state of the meeting at once.", "reader", scopes=("meetings:read", "participants:read")
)

POLICY_READ = _permission("policy.read", "Read the rules.", "reader", scopes=("meetings:read",))
POLICY_READ_ALL = _permission("policy.read_all", "Read also whom and what the rules name.", "reader", STAFF)
POLICY_UPDATE = _permission(
    "policy.update", "Replace and change the rules.", "member", _ONLY_HOST, scopes=("meetings:write",)
)
POLICY_SIMULATE = _permission(
    "policy.simulate",
    "Try rules on the last joins.",
    "member",
    STAFF,
    scopes=("meetings:read", "participants:read"),
)
POLICY_HOST_ONLY = _permission("policy.host_only", "Do what the rules give to `host` only.", "member", STAFF)
AUDIT_READ = _permission(
    "audit.read",
    "Read who did what to others and to the rules.",
    "member",
    _ONLY_HOST,
    scopes=("meetings:read", "participants:read"),
)
ENTRY_FORESEE = _permission("entry.foresee", "Ask what one's own join would get.", "member", scopes=("meetings:read",))
ENTRY_FORESEE_OTHERS = _permission("entry.foresee_others", "Ask what somebody's join would get.", "member", STAFF)

PARTICIPANTS_LIST = _permission(
    "participants.list", "List who is or was inside, and raised hands.", "reader", scopes=("participants:read",)
)
PARTICIPANTS_LIST_ALL = _permission(
    "participants.list_all", "See also who is invited, waits, or was turned away.", "reader", STAFF
)
PARTICIPANTS_UPDATE_SELF = _permission(
    "participants.update_self", "Set one's own flags.", "inside", scopes=("participants:write",)
)
PARTICIPANTS_MODERATE = _permission(
    "participants.moderate",
    "Mute others, lower hands, take voice and chat away.",
    "member",
    STAFF,
    scopes=("participants:write",),
)
PARTICIPANTS_MODERATE_HOST = _permission("participants.moderate_host", "Do so to a host.", "member", _ONLY_HOST)
PARTICIPANTS_RESTORE_SELF = _permission(
    "participants.restore_self", "Take back a right that a host took from oneself.", "member", _ONLY_HOST
)
PARTICIPANTS_CHANGE_ROLE = _permission("participants.change_role", "Change somebody's role.", "member", _ONLY_HOST)
PARTICIPANTS_REMOVE = _permission(
    "participants.remove", "Put somebody out, and ban.", "member", STAFF, scopes=("participants:write",)
)

WAITING_ROOM_READ = _permission("waiting_room.read", "See who waits.", "member", STAFF, scopes=("participants:read",))
WAITING_ROOM_ANSWER = _permission(
    "waiting_room.answer", "Admit and deny.", "member", STAFF, scopes=("participants:write",)
)
WAITING_ROOM_ADDRESS = _permission(
    "waiting_room.address", "Say something to those who wait.", "member", STAFF, scopes=("participants:write",)
)
WAITING_ROOM_SEND_BACK = _permission(
    "waiting_room.send_back", "Send somebody back to wait.", "member", STAFF, scopes=("participants:write",)
)

CHAT_READ = _permission("chat.read", "Read messages of the time one was inside.", "reader", scopes=("chat:read",))
CHAT_SEND = _permission(
    "chat.send", "Write, edit one's own messages, put emojis on them, show typing.", "inside", scopes=("chat:write",)
)
CHAT_DELETE = _permission("chat.delete", "Delete one's own messages.", "inside", scopes=("chat:write",))
CHAT_DELETE_ANY = _permission("chat.delete_any", "Delete any public message.", "inside", STAFF)
REACTION_SEND = _permission("reaction.send", "Show a reaction.", "inside", scopes=("chat:write",))

WEBHOOKS_MANAGE = _permission(
    "webhooks.manage", "Make, read and change one's own webhooks.", "anywhere", scopes=("webhooks:write",)
)
WEBHOOKS_SUBSCRIBE = _permission(
    "webhooks.subscribe", "Have a webhook told what happens in the meeting.", "member", _ONLY_HOST
)


JOB_READ = _permission("job.read", "See how work stands that one asked for.", "anywhere", scopes=("participants:read",))
JOB_CANCEL = _permission(
    "job.cancel",
    "Call off work that one asked for and that has not begun.",
    "anywhere",
    scopes=("participants:write",),
)


def may(person: Participant, permission: Permission) -> bool:
    """Tell whether somebody's role has a permission; where they are is `membership.check_permitted`'s question."""
    return person.role in permission.roles


def demand(person: Participant, permission: Permission) -> None:
    """Raise InsufficientPermission when somebody's role does not have a permission."""
    if not may(person, permission):
        message, remedy = _WORDS[permission.roles]
        raise InsufficientPermission(message, details={"rule": permission.name, "remedy": remedy})


_WORDS = {
    STAFF: ("Only hosts and co-hosts may do this.", "Ask a host or co-host to do it."),
    _ONLY_HOST: ("Only the host may do this.", "Ask the host to do it."),
}
