"""What the audit trail writes down: each act that somebody does to others or to the rules, in the act's transaction.

An act on several people is a row for each of them. Joins, chats and what people set on themselves are in the ledger.
"""

from typing import Any

from shared.audit import kinds
from shared.audit.acts import NOBODY, Act, Party
from shared.audit.chain import append
from shared.chat.events import MessageTakenDown
from shared.core.listeners import listens_to
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.events import MeetingCancelled, MeetingChanged, MeetingFinished, MeetingStarted
from shared.participants import permissions
from shared.participants.membership import find_place
from shared.participants.models import Participant
from shared.participants.moderation_events import (
    BanSpread,
    GuestAccredited,
    ManyChangesOrdered,
    PeopleInvited,
    PersonChanged,
    PersonPutOut,
    PersonSentBack,
    WaitersAddressed,
    WaitersAdmitted,
    WaitersDenied,
)
from shared.participants.permissions import Permission
from shared.participants.queries import get_participant
from shared.policies.events import PolicyChanged
from shared.policies.models import Policy


def _meeting_act(
    tx: Transaction,
    event: MeetingStarted | MeetingFinished | MeetingCancelled | MeetingChanged | PolicyChanged,
    permission: Permission,
    guest_id: str | None = None,
    **details: Any,
) -> None:
    actor = _party(tx, event.meeting_id, event.actor_id, guest_id)
    append(tx, Act(meeting_id=event.meeting_id, kind=permission.name, actor=actor, details=details))


def _party(tx: Transaction, meeting_id: str, user_id: str | None, guest_id: str | None) -> Party:
    if user_id is None and guest_id is None:
        return NOBODY  # the system: the time of the meeting was over
    place = find_place(tx, meeting_id, Actor(name="", user_id=user_id, participant_id=guest_id))
    return Party(guest_id, user_id) if place is None else Party.of(place)


@listens_to(MeetingStarted)
def meeting_started(tx: Transaction, event: MeetingStarted) -> None:
    """Write down who let people in."""
    _meeting_act(tx, event, permissions.MEETING_START, event.guest_id)


@listens_to(MeetingFinished)
def meeting_ended(tx: Transaction, event: MeetingFinished) -> None:
    """Write down who ended it; nobody when its time was over."""
    _meeting_act(tx, event, permissions.MEETING_END, event.guest_id)


@listens_to(MeetingCancelled)
def meeting_cancelled(tx: Transaction, event: MeetingCancelled) -> None:
    """Write down who cancelled it."""
    _meeting_act(tx, event, permissions.MEETING_CANCEL)


@listens_to(MeetingChanged)
def meeting_changed(tx: Transaction, event: MeetingChanged) -> None:
    """Write down who set what of it."""
    _meeting_act(tx, event, permissions.MEETING_UPDATE, set=list(event.changed))


@listens_to(PolicyChanged)
def policy_changed(tx: Transaction, event: PolicyChanged) -> None:
    """Write down which rules are different. Who is put out by that was named by the rule: it is one act."""
    changed = _changed_rules(event.before, event.after)
    _meeting_act(tx, event, permissions.POLICY_UPDATE, version=event.after.version, changed=changed)


def _changed_rules(before: Policy, after: Policy) -> dict[str, Any]:
    """Return the rules that are different. Of the passcode and of custom settings, which may hold anything, only that
    they are; of blocked people, who came and who went."""
    old, new = before.public(for_staff=True), after.public(for_staff=True)
    names = sorted(name for name in new.keys() - {"version", "updated_at", "has_passcode"} if old[name] != new[name])
    changed: dict[str, Any] = {name: {"from": old[name], "to": new[name]} for name in names}
    if "blocked_users" in changed:
        was, now = set(before.blocked_users), set(after.blocked_users)
        changed["blocked_users"] = {"added": sorted(now - was), "removed": sorted(was - now)}
    if "custom_settings" in changed:
        changed["custom_settings"] = "changed"
    if before.passcode_hash != after.passcode_hash:
        changed["passcode"] = "set" if after.passcode_hash else "removed"
    return changed


def _done(tx: Transaction, kind: str, by: Participant, target: Party = NOBODY, **details: Any) -> None:
    told = {name: value for name, value in details.items() if value is not None}
    append(tx, Act(meeting_id=by.meeting_id, kind=kind, actor=Party.of(by), target=target, details=told))


@listens_to(PersonChanged)
def person_changed(tx: Transaction, event: PersonChanged) -> None:
    """Write down what became of somebody's role, flags and rights."""
    permission = permissions.PARTICIPANTS_CHANGE_ROLE if "role" in event.changes else permissions.PARTICIPANTS_MODERATE
    changes = {name: {"from": getattr(event.before, name), "to": getattr(event.after, name)} for name in event.changes}
    _done(tx, permission.name, event.by, Party.of(event.after), changes=changes)


@listens_to(ManyChangesOrdered)
def many_changes_ordered(tx: Transaction, event: ManyChangesOrdered) -> None:
    """Write down what was ordered, once for all whom it is about; the job knows who was refused."""
    ordered = {name: event.wish[name] for name in ("filter", "set") if name in event.wish}
    told = {"job_id": event.job_id, "job": event.kind, "people": event.total, **ordered}
    _done(tx, permissions.PARTICIPANTS_MODERATE.name, event.by, **told)


@listens_to(PersonPutOut)
def person_put_out(tx: Transaction, event: PersonPutOut) -> None:
    """Write down who was removed or banned, from where, and why."""
    kind = kinds.BAN if event.ban else permissions.PARTICIPANTS_REMOVE.name
    _done(tx, kind, event.by, Party.of(event.target), reason=event.reason)


@listens_to(BanSpread)
def ban_spread(tx: Transaction, event: BanSpread) -> None:
    """Write down, in this meeting's trail too, who was banned because they were elsewhere in the series."""
    actor = _party(tx, event.meeting_id, event.actor_id, None)
    details = {"from_series": True}
    append(
        tx,
        Act(meeting_id=event.meeting_id, kind=kinds.BAN, actor=actor, target=Party.of(event.target), details=details),
    )


@listens_to(WaitersAdmitted)
def waiters_admitted(tx: Transaction, event: WaitersAdmitted) -> None:
    """Write down who was let in."""
    for person in event.people:
        _done(tx, kinds.ADMIT, event.by, Party.of(person))


@listens_to(WaitersDenied)
def waiters_denied(tx: Transaction, event: WaitersDenied) -> None:
    """Write down who was turned away, and why."""
    for person in event.people:
        _done(tx, kinds.DENY, event.by, Party.of(person), reason=event.reason)


@listens_to(WaitersAddressed)
def waiters_addressed(tx: Transaction, event: WaitersAddressed) -> None:
    """Write down to how many something was said; what, is in the ledger."""
    _done(tx, permissions.WAITING_ROOM_ADDRESS.name, event.by, recipients=event.recipients)


@listens_to(PersonSentBack)
def person_sent_back(tx: Transaction, event: PersonSentBack) -> None:
    """Write down who has to wait again."""
    _done(tx, permissions.WAITING_ROOM_SEND_BACK.name, event.by, Party.of(event.target))


@listens_to(PeopleInvited)
def people_invited(tx: Transaction, event: PeopleInvited) -> None:
    """Write down who was invited; of an address without account only that it was."""
    for person in event.people:
        _done(tx, kinds.INVITE, event.by, Party.of(person) if person else NOBODY, has_account=person is not None)


@listens_to(GuestAccredited)
def guest_accredited(tx: Transaction, event: GuestAccredited) -> None:
    """Write down to whom a guest's token was given: the one credential that is made for whoever asks."""
    _done(tx, kinds.GUEST_TOKEN, event.guest, Party.of(event.guest))


@listens_to(MessageTakenDown)
def message_taken_down(tx: Transaction, event: MessageTakenDown) -> None:
    """Write down whose message was deleted; not what it said."""
    author = get_participant(tx, event.message.meeting_id, event.message.sender_id)
    _done(tx, permissions.CHAT_DELETE_ANY.name, event.by, Party.of(author), message_id=event.message.id)
