"""What hosts and co-hosts do to others (contract 4). Every function locks the meeting row: of two who act at the same
time the second sees what the first did, and there is always a host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from shared.core import ledger
from shared.core.database import TransactionConflict
from shared.core.errors import InsufficientPermission, ValidationFailed
from shared.core.streams import hosts_stream
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.models import Meeting
from shared.meetings.queries import lock_meeting, lock_series
from shared.meetings.service import check_not_over, check_running
from shared.participants import permissions
from shared.participants.entering import change_place, take_seat
from shared.participants.errors import ParticipantNotFound
from shared.participants.events import (
    HandRaised,
    ParticipantBanned,
    ParticipantUpdated,
    RoleChanged,
    ScreenShareChanged,
)
from shared.participants.flags import check as check_own_flags
from shared.participants.flags import no_longer_allowed, store_flags
from shared.participants.leaving import free_seat, take_out
from shared.participants.locking import lock_in_series, lock_places
from shared.participants.media import align
from shared.participants.membership import get_permitted
from shared.participants.models import DENIED, HOST, REMOVED, WAITING, Participant, participants
from shared.participants.moderation_events import PersonChanged, PersonPutOut
from shared.participants.permissions import Permission, demand
from shared.participants.queries import get_participant
from shared.participants.queue import tell_positions
from shared.participants.waiting_events import EntryDecided, ExcludedWhileWaiting
from shared.policies.cache import get_policy
from shared.policies.remedies import refusal

FLAGS = ("is_muted", "is_video_enabled", "is_screen_sharing", "is_hand_raised")
# What may be done to others: a host can take somebody's voice, picture and hand down, never put them up.
TAKES_AWAY = {"is_muted": True, "is_video_enabled": False, "is_screen_sharing": False, "is_hand_raised": False}
RIGHTS = ("can_publish", "can_chat")


@dataclass(frozen=True, slots=True)
class _Scene:
    """A meeting, who acts, and on whom."""

    meeting: Meeting
    me: Participant
    target: Participant

    @property
    def is_other(self) -> bool:
        """Tell whether this is about somebody else."""
        return self.me.id != self.target.id


def change(
    tx: Transaction, meeting_id: str, actor: Actor, participant_id: str, changes: Mapping[str, Any]
) -> Participant:
    """Change somebody's role, flags and rights. All of it is done, or nothing.

    Emits ParticipantUpdated, with a role RoleChanged, with hand or screen HandRaised or ScreenShareChanged; and
    PersonChanged, but for one's own flags.
    Raises MeetingNotFound, InsufficientPermission, MeetingEnded, MeetingNotActive, InvalidMeetingState,
    ParticipantNotFound, ValidationFailed, MaxParticipantsReached (a co-host who becomes an attendee needs a seat).
    """
    scene = _scene(tx, meeting_id, actor, participant_id, permissions.PARTICIPANTS_MODERATE)
    flags = {name: changes[name] for name in FLAGS if name in changes}
    rights = {name: changes[name] for name in RIGHTS if name in changes}
    _check(scene, changes, flags)
    if flags and not scene.is_other:
        check_own_flags(get_policy(tx, scene.meeting), scene.target, flags)
    person = scene.target
    if rights:
        flags = {**flags, **taken_away(person, rights)}
        person = change_place(tx, person, **rights)
    if flags:
        person = store_flags(tx, person, flags)
    if "role" in changes and changes["role"] != person.role:
        person = _change_role(tx, scene, person, changes["role"])
        lost = no_longer_allowed(get_policy(tx, scene.meeting), person)
        if lost:
            flags, person = {**flags, **lost}, store_flags(tx, person, lost)
    told: dict[str, Any] = {"meeting_id": meeting_id, "actor_id": actor.user_id, "participant": person}
    tx.emit(ParticipantUpdated(**told))
    if "is_screen_sharing" in flags:
        tx.emit(ScreenShareChanged(**told))
    if "is_hand_raised" in flags:
        tx.emit(HandRaised(**told))
    if person.is_inside:
        align(tx, person)
    if changes and (scene.is_other or not changes.keys() <= set(FLAGS)):
        tx.emit(
            PersonChanged(meeting_id=meeting_id, by=scene.me, before=scene.target, after=person, changes=dict(changes))
        )
    return person


def _scene(
    tx: Transaction,
    meeting_id: str,
    actor: Actor,
    participant_id: str,
    permission: Permission,
    *,
    with_series: bool = False,
) -> _Scene:
    seen = get_permitted(tx, meeting_id, actor, permission).meeting  # who has no business here holds up nobody
    if with_series and seen.series_id is not None:
        lock_series(tx, seen.series_id)  # in the order of ids: two such acts in one series must not wait in a circle
    meeting = lock_meeting(tx, meeting_id)
    if with_series and meeting.series_id != seen.series_id:
        raise TransactionConflict("a series was begun meanwhile, of which no row is locked")
    if not with_series:  # or it would be told as it was before somebody set their own flags
        lock_places(tx, meeting_id, participants.c.id == participant_id)
    me = get_permitted(tx, meeting_id, actor, permission).me
    check_not_over(meeting)
    target = get_participant(tx, meeting_id, participant_id)
    if target.role == HOST:
        demand(me, permissions.PARTICIPANTS_MODERATE_HOST)
    return _Scene(meeting, me, target)


def _check(scene: _Scene, changes: Mapping[str, Any], flags: Mapping[str, bool]) -> None:
    target = scene.target
    if target.status in (REMOVED, DENIED):
        raise ParticipantNotFound("This person is out of the meeting.")
    if not scene.is_other and not changes.keys().isdisjoint(RIGHTS):
        demand(scene.me, permissions.PARTICIPANTS_RESTORE_SELF)
    if "role" in changes:
        demand(scene.me, permissions.PARTICIPANTS_CHANGE_ROLE)
        if changes["role"] == HOST and target.user_id is None:
            raise ValidationFailed(details={"role": ["A guest cannot be a host."]})
    if flags:
        check_running(scene.meeting)
        if not target.is_inside:
            raise ParticipantNotFound("This person is not in the meeting.")
        wrong = [name for name, value in flags.items() if scene.is_other and value is not TAKES_AWAY[name]]
        if wrong:
            raise refusal(InsufficientPermission, "themselves", "This only the person can do.", fields=wrong)


def taken_away(person: Participant, rights: Mapping[str, bool]) -> dict[str, bool]:
    """Return the flags that end with a right that is taken from somebody."""
    if rights.get("can_publish", True) or not person.is_inside:
        return {}
    return {name: TAKES_AWAY[name] for name in ("is_muted", "is_video_enabled", "is_screen_sharing")}


def _change_role(tx: Transaction, scene: _Scene, person: Participant, role: str) -> Participant:
    if person.role == HOST and _count_hosts(tx, scene.meeting.id) == 1:
        raise InsufficientPermission("A meeting has at least one host.", details={"rule": "last_host"})
    return give_role(tx, scene.meeting, person, role, scene.me.user_id)


def give_role(tx: Transaction, meeting: Meeting, person: Participant, role: str, actor_id: str | None) -> Participant:
    """Give somebody another role, and the seat that it needs or frees; `actor_id` is None when the policy does it.

    The caller holds the meeting row, and tells the others. Emits RoleChanged. Raises MaxParticipantsReached.
    """
    was_staff = person.is_staff
    person = change_place(tx, person, role=role)
    cursors: dict[str, int] = {}
    if person.is_inside and person.is_staff and not was_staff:
        free_seat(tx, person.meeting_id)
        hosts = hosts_stream(person.meeting_id)
        cursors["hosts"] = ledger.heads(tx.connection, [hosts])[hosts]
    if person.is_inside and was_staff and not person.is_staff:
        take_seat(tx, meeting, get_policy(tx, meeting))
    tx.emit(RoleChanged(meeting_id=person.meeting_id, actor_id=actor_id, participant=person, cursors=cursors))
    return person


def _count_hosts(tx: Transaction, meeting_id: str) -> int:
    hosts = (participants.c.meeting_id == meeting_id, participants.c.role == HOST)
    return int(tx.scalar(select(func.count()).select_from(participants).where(*hosts)))


def remove(
    tx: Transaction, meeting_id: str, actor: Actor, participant_id: str, *, ban: bool, reason: str | None
) -> Participant:
    """Put somebody out of the meeting, its waiting room, or the list of the invited; with `ban` no door lets them in
    again, nor into another meeting of its series: their rows are locked for that, with the person's places and the
    streams of those inside (docs/adr/0018). Safe to repeat.

    Emits what `put_out` emits, PersonPutOut, and ParticipantBanned. Raises MeetingNotFound, InsufficientPermission
    (hosts cannot be removed), MeetingEnded, InvalidMeetingState, ParticipantNotFound.
    """
    scene = _scene(tx, meeting_id, actor, participant_id, permissions.PARTICIPANTS_REMOVE, with_series=ban)
    if scene.target.role == HOST:
        raise refusal(InsufficientPermission, "target_role", "A host cannot be removed.")
    if not scene.is_other:
        raise refusal(InsufficientPermission, "oneself", "You cannot remove yourself.")
    series_id, user_id = scene.meeting.series_id, scene.target.user_id
    if ban and series_id is not None and user_id is not None:
        lock_in_series(tx, series_id, user_id)
    out = put_out(tx, scene.target, ban=ban, actor_id=actor.user_id, reason=reason)
    if ban:
        tx.emit(ParticipantBanned(meeting=scene.meeting, participant=out, actor_id=actor.user_id))
    tx.emit(PersonPutOut(meeting_id=meeting_id, by=scene.me, target=out, ban=ban, reason=reason))
    return out


def put_out(
    tx: Transaction, person: Participant, *, ban: bool, actor_id: str | None, reason: str | None = None
) -> Participant:
    """End somebody's place, wherever they are. The caller holds the meeting row.

    Emits ParticipantLeft for who was inside, ExcludedWhileWaiting and EntryDecided for who waited.
    """
    values = {"status": REMOVED, "is_banned": ban or person.is_banned, "was_admitted": False}
    gone = {"presence": None, "disconnected_at": None, "waiting_since": None}
    if person.is_inside:
        return take_out(tx, person, "banned" if ban else "removed", actor_id=actor_id, left_at=tx.now, **gone, **values)
    was_waiting = person.status == WAITING
    out = change_place(tx, person, **gone, **values)
    align(tx, out)  # who has left may still be in the media room
    if was_waiting:
        told: dict[str, Any] = {"meeting_id": out.meeting_id, "actor_id": actor_id, "participant": out}
        tx.emit(ExcludedWhileWaiting(**told, reason=reason))
        tx.emit(EntryDecided(**told, action="removed"))
        tell_positions(tx, out.meeting_id)
    return out
