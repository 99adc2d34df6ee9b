"""Bugs that are planted in what keeps a meeting safe, one at a time: what the machine does not find, it does not prove.

Each is the small mistake that somebody could make. A name that is patched here and no longer there fails the gate:
then plant the bug where that rule lives now.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from shared.chat import queries as chat_queries
from shared.chat import service as chat
from shared.chat.models import messages
from shared.core.cache import Cache
from shared.core.keyring import Keyring
from shared.identity.models import users
from shared.meetings.models import Meeting, meetings
from shared.participants import (
    enforcement,
    entering,
    flags,
    leaving,
    media,
    membership,
    moderation,
    permissions,
    queries,
    service,
    tickets,
    waiting,
)
from shared.participants.models import LEFT, REMOVED, WAITING, Participant, participants
from shared.policies import admission
from shared.policies import service as policy_service
from shared.policies.errors import MaxParticipantsReached
from shared.policies.models import policies
from shared.signals import service as signals

Plant = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Plant] = {}


def mutant(what: str) -> Callable[[Plant], Plant]:
    """Register a bug under the sentence that says what it does."""

    def register(plant: Plant) -> Plant:
        assert what not in MUTANTS
        MUTANTS[what] = plant
        return plant

    return register


def _without_rule(patch: pytest.MonkeyPatch, rule: str, instead: Callable[..., Any] = lambda *_: None) -> None:
    assert rule in dict(admission._RULES)
    rules = tuple((name, instead if name == rule else check) for name, check in admission._RULES)
    patch.setattr(admission, "_RULES", rules)


# --- the door


@mutant("a locked meeting lets everybody in")
def _lock(patch: pytest.MonkeyPatch) -> None:
    _without_rule(patch, "lock_meeting")


@mutant("guests come in without being allowed")
def _anonymous(patch: pytest.MonkeyPatch) -> None:
    _without_rule(patch, "allow_anonymous_join")


@mutant("a ban is not looked at when somebody comes back")
def _ban(patch: pytest.MonkeyPatch) -> None:
    check = dict(admission._RULES)["blocked_users"]
    _without_rule(patch, "blocked_users", lambda policy, who, key: check(policy, replace(who, is_banned=False), key))


@mutant("every passcode is right")
def _passcode(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Keyring, "passcode_matches", lambda *_: True)


@mutant("a domain is compared by how it ends")
def _domain(patch: pytest.MonkeyPatch) -> None:
    def inside(policy: Any, who: Any) -> bool:
        return any((who.email or "").endswith(domain) for domain in policy.allowed_domains)

    patch.setattr(admission, "_inside_domains", inside)


@mutant("there is one seat too many")
def _capacity(patch: pytest.MonkeyPatch) -> None:
    take = (
        update(meetings)
        .where(meetings.c.id == bindparam("meeting_id"), meetings.c.seats_taken <= bindparam("seats"))
        .values(seats_taken=meetings.c.seats_taken + 1)
    )
    patch.setattr(entering, "_TAKE_SEAT", take)
    patch.setattr(service, "_is_full", lambda meeting, policy: meeting.seats_taken > policy.max_participants)


@mutant("who leaves keeps the seat")
def _seat(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leaving, "free_seat", lambda *_: None)


@mutant("who finds no seat is written down before being refused")
def _refused_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(service, "_is_full", lambda *_: False)
    patch.setattr(MaxParticipantsReached, "is_kept", True)


@mutant("who was sent back comes in again by asking")
def _sent_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        service, "decide", lambda policy, who, key: admission.decide(policy, replace(who, is_sent_back=False), key)
    )


# --- the waiting room


@mutant("who waits may do what is done inside")
def _waiter(patch: pytest.MonkeyPatch) -> None:
    check = membership.check_inside

    def check_inside(found: membership.Membership) -> None:
        if found.me.status != WAITING:
            check(found)

    patch.setattr(membership, "check_inside", check_inside)


@mutant("who was denied stays a member")
def _denied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(waiting, "DENIED", LEFT)


@mutant("hosts admit more people than there are seats")
def _admit(patch: pytest.MonkeyPatch) -> None:
    def take_seat(tx: Any, meeting: Meeting, _policy: Any) -> None:
        tx.execute(update(meetings).where(meetings.c.id == meeting.id).values(seats_taken=meetings.c.seats_taken + 1))

    patch.setattr(waiting, "take_seat", take_seat)


@mutant("attendees answer the waiting room")
def _attendee_admits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        waiting, "get_permitted", lambda tx, meeting_id, actor, _: membership.get_membership(tx, meeting_id, actor)
    )


# --- roles, and who is out


@mutant("co-hosts change roles")
def _role(patch: pytest.MonkeyPatch) -> None:

    def lax(me: Participant, permission: permissions.Permission) -> None:
        if permission is not permissions.PARTICIPANTS_CHANGE_ROLE:
            permissions.demand(me, permission)

    patch.setattr(moderation, "demand", lax)


@mutant("the last host can be demoted")
def _last_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moderation, "_count_hosts", lambda *_: 2)


@mutant("a host unmutes others")
def _unmute(patch: pytest.MonkeyPatch) -> None:
    check = moderation._check

    def lax(scene: Any, changes: Any, flags: dict[str, bool]) -> None:
        check(scene, changes, {name: value for name, value in flags.items() if name != "is_muted"})

    patch.setattr(moderation, "_check", lax)


@mutant("who was removed gets a ticket for the socket")
def _ticket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tickets, "get_listener", _place_of_anybody)


@mutant("who was removed gets a token for the media")
def _token(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(media, "get_permitted", _place_of_anybody)


def _place_of_anybody(tx: Any, meeting_id: str, actor: Any, permission: Any = permissions.MEETING_LISTEN) -> Any:
    me = membership.find_place(tx, meeting_id, actor)
    if me is not None and me.status == REMOVED:
        return membership.memberships_by_id(tx, [me.id])[me.id]
    return membership.get_permitted(tx, meeting_id, actor, permission)


@mutant("a guest's token opens other meetings")
def _guest(patch: pytest.MonkeyPatch) -> None:
    anywhere = (
        select(
            *(users.c.name if name == "host_name" else meetings.c[name] for name in Meeting.__slots__),
            *(participants.c[name] for name in Participant.__slots__),
        )
        .join_from(meetings, users, users.c.id == meetings.c.host_id)
        .join(participants, participants.c.id == bindparam("who"))
        .where(meetings.c.id == bindparam("meeting_id"))
    )
    patch.setitem(membership._MEMBERSHIP, True, anywhere)


@mutant("attendees see who is invited, waits, or was turned away")
def _roster(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queries, "may", lambda *_: True)


# --- rules while people are inside


@mutant("a changed policy is not read anew")
def _stale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cache, "get", lambda self, kind, id_, _: self._entries.get((kind, id_), (0, 0.0, None))[2])


@mutant("the version of the policy stays the same")
def _version(patch: pytest.MonkeyPatch) -> None:
    change = policy_service.change_policy

    def unnumbered(tx: Any, meeting_id: str, *args: Any, **how: Any) -> Any:
        after = change(tx, meeting_id, *args, **how)
        tx.execute(update(policies).where(policies.c.meeting_id == meeting_id).values(version=after.version - 1))
        tx.execute(update(meetings).where(meetings.c.id == meeting_id).values(policy_version=after.version - 1))
        return after

    patch.setattr(policy_service, "change_policy", unnumbered)


@mutant("who is blocked while inside stays")
def _blocked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(enforcement, "put_out", lambda *_, **__: None)


@mutant("chat that is switched off is open")
def _chat(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chat, "permits", lambda *_, **__: True)


@mutant("hosts read private messages")
def _private(patch: pytest.MonkeyPatch) -> None:
    readable = chat_queries._readable

    def all_for_staff(me: Participant) -> Any:
        return select(messages).where(messages.c.meeting_id == me.meeting_id) if me.is_staff else readable(me)

    patch.setattr(chat_queries, "_readable", all_for_staff)


@mutant("hands go up although the policy says no")
def _hand(patch: pytest.MonkeyPatch) -> None:
    check = flags.check
    patch.setattr(flags, "check", lambda policy, me, given: check(replace(policy, enable_hand_raise=True), me, given))


@mutant("screens are shared although the policy says no")
def _screen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flags, "permits", lambda *_, **__: True)


@mutant("reactions that are switched off are shown")
def _reaction(patch: pytest.MonkeyPatch) -> None:
    react = signals.react

    def lax(standing: Any, reaction_type: str) -> Any:
        return react(replace(standing, policy=replace(standing.policy, enable_reactions=True)), reaction_type)

    patch.setattr(signals, "react", lax)
