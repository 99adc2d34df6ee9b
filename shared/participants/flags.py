"""What participants say about themselves while inside: microphone, camera, screen, hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from shared.core.errors import InsufficientPermission
from shared.core.transaction import Position, Transaction
from shared.identity.actor import Actor
from shared.participants import permissions
from shared.participants.errors import NotInside
from shared.participants.events import HandRaised, ParticipantUpdated, ScreenShareChanged
from shared.participants.membership import get_permitted
from shared.participants.models import JOINED, Participant, participants
from shared.policies.cache import get_policy
from shared.policies.errors import HandRaiseDisabled, ScreenShareDisabled
from shared.policies.models import Policy
from shared.policies.remedies import refusal
from shared.policies.service import permits


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags to set; None leaves one as it is."""

    is_muted: bool | None = None
    is_video_enabled: bool | None = None
    is_screen_sharing: bool | None = None
    is_hand_raised: bool | None = None

    def given(self) -> dict[str, bool]:
        """Return the flags that are not None."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class FlagsSet:
    """The participant afterwards, and where the events stand: the update, and the signal for hand or screen."""

    participant: Participant
    update: Position
    signal: Position | None


def set_my_flags(tx: Transaction, meeting_id: str, actor: Actor, flags: Flags) -> FlagsSet:
    """Set the actor's own flags.

    Emits ParticipantUpdated, and with them HandRaised or ScreenShareChanged for those who only wait for that.
    Raises MeetingNotFound, MeetingNotActive, MeetingEnded, NotInside, and what `check` raises.
    """
    membership = get_permitted(tx, meeting_id, actor, permissions.PARTICIPANTS_UPDATE_SELF)
    given = flags.given()
    check(get_policy(tx, membership.meeting), membership.me, given)
    person = store_flags(tx, membership.me, given)
    at = tx.emit(ParticipantUpdated(meeting_id=meeting_id, actor_id=actor.user_id, participant=person))
    signal = None
    if "is_screen_sharing" in given:
        signal = tx.emit(ScreenShareChanged(meeting_id=meeting_id, actor_id=actor.user_id, participant=person))
    if "is_hand_raised" in given:
        signal = tx.emit(HandRaised(meeting_id=meeting_id, actor_id=actor.user_id, participant=person))
    assert at is not None
    # Once more, now that the stream's row is ours: a rule that changed meanwhile came first, and holds.
    membership = get_permitted(tx, meeting_id, actor, permissions.PARTICIPANTS_UPDATE_SELF)
    check(get_policy(tx, membership.meeting), membership.me, given)
    return FlagsSet(person, at, signal)


_PUBLISHING = {"is_muted": False, "is_video_enabled": True, "is_screen_sharing": True}


def check(policy: Policy, me: Participant, given: Mapping[str, bool]) -> None:
    """Raise what keeps somebody from setting their own flags: ScreenShareDisabled, HandRaiseDisabled,
    InsufficientPermission (the voice was taken away, cameras are off).
    """
    if not me.can_publish and any(given.get(name) is value for name, value in _PUBLISHING.items()):
        raise refusal(InsufficientPermission, "can_publish")
    is_staff = permissions.may(me, permissions.POLICY_HOST_ONLY)
    if given.get("is_screen_sharing") and not permits(policy.screen_share_permissions, is_staff=is_staff):
        raise refusal(ScreenShareDisabled, "screen_share_permissions")
    if given.get("is_video_enabled") and policy.disable_camera and not is_staff:
        raise refusal(InsufficientPermission, "disable_camera", "Cameras are switched off in this meeting.")
    if given.get("is_hand_raised") and not policy.enable_hand_raise:
        raise refusal(HandRaiseDisabled, "enable_hand_raise")


def no_longer_allowed(policy: Policy, me: Participant) -> dict[str, bool]:
    """Return the flags of somebody inside that end because they have another role now."""
    if not me.is_inside or permissions.may(me, permissions.POLICY_HOST_ONLY):
        return {}
    allowed = {
        "is_screen_sharing": permits(policy.screen_share_permissions, is_staff=False),
        "is_video_enabled": not policy.disable_camera,
    }
    return {name: False for name, is_allowed in allowed.items() if getattr(me, name) and not is_allowed}


def store_flags(tx: Transaction, me: Participant, given: dict[str, bool]) -> Participant:
    """Write flags of somebody inside; return the participant afterwards. Raises NotInside."""
    values: dict[str, Any] = dict(given)
    if "is_hand_raised" in given:
        up = given["is_hand_raised"]
        # A hand that is up already keeps its turn.
        values["hand_raised_at"] = (me.hand_raised_at or tx.now) if up else None
    row = tx.execute(
        update(participants)
        .where(participants.c.id == me.id, participants.c.status == JOINED)
        .values(**values)
        .returning(participants)
    ).one_or_none()
    if row is None:  # out since the membership was read
        raise NotInside
    return Participant.of(row)
