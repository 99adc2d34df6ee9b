"""What a changed policy takes from people who are in the meeting already."""

from typing import Any

from sqlalchemy import ColumnElement, select, update

from shared.core.transaction import Transaction
from shared.participants.events import HandRaised, ParticipantUpdated, ScreenShareChanged
from shared.participants.media import align
from shared.participants.models import JOINED, STAFF, WAITING, Participant, participants
from shared.participants.moderation import put_out
from shared.policies.events import PolicyChanged
from shared.policies.models import HOST, NONE, Policy


def concerns_those_inside(before: Policy, after: Policy) -> bool:
    """Tell whether a change may take something from somebody who is inside, or waits."""
    return bool(
        set(after.blocked_users) - set(before.blocked_users)
        or (after.screen_share_permissions in (HOST, NONE) and _media_rules(after) != _media_rules(before))
        or (after.disable_camera and not before.disable_camera)
        or (before.enable_hand_raise and not after.enable_hand_raise)
    )


def _media_rules(policy: Policy) -> tuple[str, bool]:
    return policy.screen_share_permissions, policy.disable_camera


def enforce(tx: Transaction, event: PolicyChanged) -> None:
    """Put out who is blocked now, take down screens, cameras and hands that are no longer allowed.

    The caller holds the meeting row, and the places if the change concerns those inside. Emits what `put_out` emits,
    ParticipantUpdated with ScreenShareChanged and HandRaised.
    """
    before, after = event.before, event.after
    blocked = set(after.blocked_users) - set(before.blocked_users)
    if blocked:
        for person in _people(
            tx,
            event,
            participants.c.user_id.in_(sorted(blocked)),
            participants.c.role.not_in(STAFF),
            participants.c.status.in_((JOINED, WAITING)),
        ):
            put_out(tx, person, ban=False, actor_id=event.actor_id)
    if _media_rules(after) != _media_rules(before):
        _change_media(tx, event)
    if before.enable_hand_raise and not after.enable_hand_raise:
        _lower_hands(tx, event)


def _people(tx: Transaction, event: PolicyChanged, *conditions: ColumnElement[bool]) -> list[Participant]:
    query = select(participants).where(participants.c.meeting_id == event.meeting_id, *conditions)
    return [Participant.of(row) for row in tx.all(query.order_by(participants.c.id))]


def _change_media(tx: Transaction, event: PolicyChanged) -> None:
    inside, is_no_host = participants.c.status == JOINED, participants.c.role.not_in(STAFF)
    permission = event.after.screen_share_permissions
    if permission in (HOST, NONE):
        refused = [inside, participants.c.is_screen_sharing, *([is_no_host] if permission == HOST else [])]
        stopped = _store(tx, _people(tx, event, *refused), is_screen_sharing=False)
        tx.emit_all([ParticipantUpdated(**_told(event, person)) for person in stopped])
        tx.emit_all([ScreenShareChanged(**_told(event, person)) for person in stopped])
    if event.after.disable_camera:
        seen = _people(tx, event, inside, is_no_host, participants.c.is_video_enabled)
        hidden = _store(tx, seen, is_video_enabled=False)
        tx.emit_all([ParticipantUpdated(**_told(event, person)) for person in hidden])
    for person in _people(tx, event, inside):
        align(tx, person)


def _lower_hands(tx: Transaction, event: PolicyChanged) -> None:
    raised = _people(tx, event, participants.c.status == JOINED, participants.c.is_hand_raised)
    lowered = _store(tx, raised, is_hand_raised=False, hand_raised_at=None)
    tx.emit_all([ParticipantUpdated(**_told(event, person)) for person in lowered])
    tx.emit_all([HandRaised(**_told(event, person)) for person in lowered])


def _store(tx: Transaction, people: list[Participant], **values: object) -> list[Participant]:
    if not people:
        return []
    rows = tx.all(
        update(participants)
        .where(participants.c.id.in_([person.id for person in people]))
        .values(**values)
        .returning(participants)
    )
    return sorted((Participant.of(row) for row in rows), key=lambda person: person.id)


def _told(event: PolicyChanged, person: Participant) -> dict[str, Any]:
    return {"meeting_id": event.meeting_id, "actor_id": event.actor_id, "participant": person}
